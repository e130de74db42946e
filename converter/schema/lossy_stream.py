"""Output that never fails, as no server must end for a line about it: lost lines are counted, and said later."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer


_NEWLINE = ord("\n")


def plain_note(lines: int, reason: str) -> str:
    """Return what is said of lines that were lost."""
    return f"{lines} {'line was' if lines == 1 else 'lines were'} lost here: {reason}"


class LossyFile(io.FileIO):
    """A raw file to write to. `on_lost` is told how many lines each write lost; `note` says how many there were."""

    def __init__(self, file: int | str | Path, mode: str = "w", closefd: bool = True) -> None:
        super().__init__(file, mode, closefd)
        self.on_lost: Callable[[int], None] = lambda lines: None
        self.note: Callable[[int, str], str] = plain_note
        self._unsaid = 0
        self.reason = ""
        # Whether the last line that could be written was cut.
        self._cut = False

    def write(self, data: Buffer, /) -> int:
        """Take all of it, whatever becomes of it; its length in bytes."""
        view = memoryview(data).cast("B")
        if self._unsaid:
            begin = "\n" if self._cut else ""
            said = f"{begin}{self.note(self._unsaid, self.reason)}\n".encode(errors="backslashreplace")
            if self._put(memoryview(said)) == len(said):
                self._unsaid = 0
            else:
                self._lose(view)
                return len(view)
        put = self._put(view)
        if put < len(view):
            self._lose(view[put:])
        return len(view)

    def _put(self, view: memoryview) -> int:
        """Write what can be written; how many bytes that were."""
        put = 0
        try:
            while put < len(view):
                written = super().write(view[put:])
                if not written:
                    # It would have to be waited for.
                    self.reason = "nobody reads them"
                    break
                put += written
        except OSError as error:
            self.reason = error.strerror or str(error)
        if put:
            self._cut = view[put - 1] != _NEWLINE
        return put

    def _lose(self, view: memoryview) -> None:
        lines = bytes(view).count(b"\n")
        self._unsaid += lines
        self.on_lost(lines)


def open_text(file: LossyFile, encoding: str = "utf-8") -> io.TextIOWrapper:
    """Make a text file of whole lines on top of a lossy one."""
    return io.TextIOWrapper(io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=True)


def take_over_standard_streams() -> None:
    """Make standard output and error lossy files, once, as a process begins; a closed one becomes /dev/null."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next file or socket would have its number, and get what is printed.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = open_text(LossyFile(1, closefd=False), getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = open_text(LossyFile(2, closefd=False), getattr(sys.stderr, "encoding", "utf-8"))


def standard_files() -> list[LossyFile]:
    """Return those under standard output and error, if they were taken over."""
    return [file for stream in (sys.stdout, sys.stderr) if (file := below(stream)) is not None]


def below(stream: Any) -> LossyFile | None:
    """Return the lossy file that a text file writes to; None if it is another one."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, LossyFile) else None
