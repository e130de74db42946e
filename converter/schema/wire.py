"""What two processes say to each other outside of HTTP: each word is written here once, for both sides.

The runtime inside Triton imports nothing of ours, so it has copies: of the error codes in `runtime/errors.py`, of the
wake key and the canary in `runtime/wake.py`, of a model's environment in `runtime/loaders.py`, of the names of packed
strings and the mark of a missing one in `runtime/config.py`. tests/unit/runtime/test_wire.py holds them equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# How an error of a model's runtime begins in the text that Triton passes on: `[schwift:<code>] <sentence>`.
ErrorCode = Literal["model_error", "model_unfit", "load_error", "bad_model_output", "model_unreachable", "deadline"]

# The file in a front's version folder with the secret id of its wake-ups.
WAKE_KEY_FILE = "wake_key"
# What follows that id in the id of a canary: a row that the front answers by itself.
CANARY_SUFFIX = "-canary"

# What follows a string tensor's name in those of the two that cross in its place (packed_strings.py).
BYTES_SUFFIX = ".bytes"
LENGTHS_SUFFIX = ".lengths"
# What stands for None in a front's strings, if the config says that they are nullable: no UTF-8 has this byte.
NULL_TEXT = b"\xff"

# The file in the version folder of a model with an environment of its own: its key in the first line, then what is
# installed there. And the variable by which the launcher tells a process whose environment it has.
ENVIRONMENT_FILE = "environment"
ENVIRONMENT_VARIABLE = "SCHWIFT_ENVIRONMENT"
MISSING_ENVIRONMENT = "missing"
# In the place of a key: schwift's own environment, whatever the others run in.
OWN_ENVIRONMENT = "schwift"

# The tensors of a host: a call with the rows of several models, and its answer (packs/envelope.py). Its key, without
# which it takes no call, is in a file of its version folder; a packed model's config in one of its own.
CALL_TENSOR = "schwift.call"
ANSWER_TENSOR = "schwift.answer"
HOST_KEY_FILE = "host_key"
MEMBER_FILE = "member.json"
# The members of a host, in the version folder of it and of its front; and the config of a packed model's ensemble for
# when the model was moved out of its host, in the ensemble's version folder.
MEMBERS_FILE = "members.json"
ALONE_FILE = "alone.json"
# The folder in which hosts note which model they are in; each process has a file, by its number.
NOTES_VARIABLE = "SCHWIFT_NOTES"

# A Triton model's name has at most 255 bytes, as a folder.
MOST_ORDER_BYTES = 512
_ORDER = re.compile(rb"kill ([A-Za-z0-9][A-Za-z0-9._~-]{0,254})|end ([1-9][0-9]{0,9})")


def error_mark(code: ErrorCode) -> str:
    """Return the words by which an error of this code is known in Triton's text."""
    return f"[schwift:{code}]"


def wake_key_path(front: str, version: int) -> str:
    """Return where a front's wake key lies in a repository; the next build keeps it, so that bytes stay the same."""
    return f"{front}/{version}/{WAKE_KEY_FILE}"


@dataclass(frozen=True)
class KillModel:
    """The adapter's order to kill all processes of a Triton model."""

    model: str

    @property
    def line(self) -> bytes:
        """The order as the kill pipe carries it."""
        return f"kill {self.model}\n".encode()


@dataclass(frozen=True)
class EndProcess:
    """The adapter's order to kill one process, of any Triton model."""

    pid: int

    @property
    def line(self) -> bytes:
        """The order as the kill pipe carries it."""
        return f"end {self.pid}\n".encode()


KillOrder = KillModel | EndProcess


def read_order(line: bytes) -> KillOrder | None:
    """Read a line of the kill pipe, without its end; None if it is no order."""
    match = _ORDER.fullmatch(line)
    if match is None:
        return None
    return KillModel(match[1].decode()) if match[1] else EndProcess(int(match[2]))
