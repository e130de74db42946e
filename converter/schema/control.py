"""What `schwift reload` and the leading adapter say to each other: a JSON object a line, over a Unix socket.

The adapter (adapter/reload/control_server.py) answers each request with any number of `Progress` lines and then `Done`,
or a class below it, or `Refusal`. In the order of a reload:

    FoldersRequest                           → Folders; answered also while another reload is under way
    ServedRequest                            → Served
    TryRequest(build, models, suffix)        the new versions, loaded under trial names
    SwitchRequest                            after the repository was switched to that build: serve it
    SettleRequest                            after that failed and the repository was switched back: serve what it has

If the connection ends before its reload does, the repository on the disk decides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Message(BaseModel):
    """A line in either direction; what another release adds to it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def line(self) -> bytes:
        """The message as the socket carries it."""
        return json.dumps(self.model_dump(mode="json")).encode() + b"\n"


class FoldersRequest(Message):
    """Ask which folders are served."""

    do: Literal["folders"] = "folders"


class ServedRequest(Message):
    """Ask which version of each model is served."""

    do: Literal["served"] = "served"


class TryRequest(Message):
    """Have these models of a build loaded under trial names, which end with `suffix`."""

    do: Literal["try"] = "try"
    build: str
    models: tuple[str, ...]
    suffix: str


class SwitchRequest(Message):
    """Have the tried models served; the repository was switched to them."""

    do: Literal["switch"] = "switch"


class SettleRequest(Message):
    """Have served what the repository holds; it was switched back."""

    do: Literal["settle"] = "settle"


ControlRequest = FoldersRequest | ServedRequest | TryRequest | SwitchRequest | SettleRequest
_REQUEST: TypeAdapter[ControlRequest] = TypeAdapter(Annotated[ControlRequest, Field(discriminator="do")])
_FIELDS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class Progress(Message):
    """A sentence for the user who waits; more follows."""

    said: str


class Refusal(Message):
    """The end of a request that failed, with the sentence for the user."""

    ok: Literal[False] = False
    reason: str


class Done(Message):
    """The end of a request."""

    ok: Literal[True] = True


class Folders(Done):
    """Where the served models and their repository are; None if the server may see them under other names.

    So are the environment that models run in, if one was named, and the cache, which has those that models have alone.
    """

    models: Path | None = None
    repository: Path | None = None
    model_env: Path | None = None
    cache: Path | None = None


class Served(Done):
    """The number of each served model's version, and the models that are given up."""

    served: dict[str, int]
    failed: tuple[str, ...]


Answer = TypeVar("Answer", bound=Done)


def read_request(line: bytes) -> ControlRequest:
    """Read a line of the client's. Raises ValueError if it is no request."""
    return _REQUEST.validate_json(line)


def read_answer(line: bytes, expected: type[Answer]) -> Answer | Progress | Refusal:
    """Read a line of the server's. Raises ValueError if it is none of these."""
    fields = _FIELDS.validate_json(line)
    form = Progress if "said" in fields else expected if fields.get("ok") else Refusal
    return form.model_validate(fields)
