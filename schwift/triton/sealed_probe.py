"""Whether this machine lets a program be started sealed: tried with a small one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from converter.schema import triton_key
from schwift.triton import sealed_start

_SECONDS = 30
_PROGRAM = """
import os, sys
with open("/proc/self/cmdline", "rb") as file:
    print(sys.argv[1].encode() not in file.read())
with open(sys.argv[2], "w") as file:
    os.fchmod(file.fileno(), 0o644)
    print(os.fstat(file.fileno()).st_mode & 0o777 == 0o600)
"""


@dataclass(frozen=True)
class Sealing:
    """What other users do not see: the key of Triton's control, and the rows of clients in its shared memory."""

    key: bool
    memory: bool


def probe() -> Sealing:
    """Start a small program sealed, and see what it shows."""
    with tempfile.TemporaryDirectory(prefix="schwift-doctor-") as name:
        key_file = Path(name, "key")
        triton_key.ensure(key_file)
        command = [sys.executable, "-I", sealed_start.__file__, str(key_file)]
        command += [sys.executable, "-I", "-c", _PROGRAM, sealed_start.KEY, str(Path(name, "file"))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    words = done.stdout.split()
    return Sealing(*(word == "True" for word in words)) if len(words) == 2 else Sealing(False, False)
