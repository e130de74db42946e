"""What the adapter asks of its supervisor, over a pipe: `kill <Triton model>` or `end <process id>`, one a line.

Only the supervisor owns the processes that Triton started. It believes nothing it reads: what is no such line is
dropped, and no more than a line is kept.
"""

from __future__ import annotations

import contextlib
import os
import re

_CHUNK = 4096
# A model's name has at most 255 bytes, as a folder.
_MOST_LINE = 512
_WISH = re.compile(rb"kill ([A-Za-z0-9][A-Za-z0-9._~-]{0,254})|end ([1-9][0-9]{0,9})")


class KillPipe:
    """Both ends are kept open here, so that an adapter that dies ends nothing; neither blocks."""

    def __init__(self) -> None:
        self._read, self.write_end = os.pipe()
        for end in (self._read, self.write_end):
            os.set_blocking(end, False)
        self._line = b""
        # The rest of a line that was too long.
        self._skipping = False

    def close(self) -> None:
        os.close(self._read)
        os.close(self.write_end)

    def read(self) -> list[str | int]:
        """What is to be killed, each once: all processes of a model, or one process. At most a chunk is read."""
        with contextlib.suppress(BlockingIOError):
            return self._lines(os.read(self._read, _CHUNK))
        return []

    def _lines(self, data: bytes) -> list[str | int]:
        *lines, rest = (self._line + data).split(b"\n")
        if lines and self._skipping:
            lines = lines[1:]
            self._skipping = False
        if len(rest) > _MOST_LINE or self._skipping:
            rest, self._skipping = b"", True
        self._line = rest
        wishes = [_read(match) for line in lines if (match := _WISH.fullmatch(line))]
        return list(dict.fromkeys(wishes))


def _read(match: re.Match[bytes]) -> str | int:
    return match[1].decode() if match[1] else int(match[2])
