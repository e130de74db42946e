"""The bytes of a file that may be compressed, as joblib reads them: within a bound, and hashed on the way."""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any

CHUNK = 1024 * 1024
# How much a compressed file may inflate to: what models of a usual size do, and what dense numbers ever do.
_FREE_INFLATED = 1024 * 1024 * 1024
_MOST_RATIO = 20


class TooLarge(Exception):
    """The file inflates to more than so many bytes."""


def most_inflated(size: int) -> int:
    """Return how many bytes a file of this size may inflate to."""
    return _FREE_INFLATED + _MOST_RATIO * size


def open_inflated(raw: Any, size: int) -> CountedFile:
    """Open a file's content for reading, inflated if it is compressed; `raw` has `peek`, and is `size` bytes long."""
    start = raw.peek(8)
    opener = next((opener for prefix, opener in _OPENERS if start.startswith(prefix)), None)
    return CountedFile(raw, size) if opener is None else CountedFile(opener(raw), most_inflated(size))


class HashedFile(io.RawIOBase):
    """Hashes a file as it is read, so that what is hashed and what is read cannot differ."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read, and hash what was read."""
        size = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:size])
        return size


class CountedFile:
    """A file that is read up to so many bytes; reading raises TooLarge if it has more."""

    def __init__(self, file: Any, most: int) -> None:
        self._file = file
        self._most = self._left = most

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or nothing if there are fewer."""
        if 0 <= size <= self._left:
            return self._take(self._file.read(size))
        # More than may be there: which it is shows without keeping any of it.
        while chunk := self._file.read(CHUNK):
            self._take(chunk)
        return b""

    def readline(self) -> bytes:
        """Read to the end of a line."""
        return self._take(self._file.readline(self._left + 1))

    def skip(self, size: int) -> None:
        """Pass over so many bytes. Raises EOFError if there are fewer."""
        while size > 0:
            got = len(self.read(min(size, CHUNK)))
            if not got:
                raise EOFError("the file ends within an array")
            size -= got

    def drain(self) -> None:
        """Read to the end, where the checksum is."""
        while self.read(CHUNK):
            pass

    def _take(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(self._most)
        return data


class _ZlibFile(io.RawIOBase):
    """Inflates a file of zlib's or gzip's format as it is read: one stream, as joblib does; what follows is nothing."""

    def __init__(self, file: IO[bytes], wbits: int) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(CHUNK)
            found = self._inflate.decompress(data, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)
            if not data:
                raise EOFError("the compressed data ends too early")
        return 0


def _open_lz4(file: Any) -> Any:
    from lz4.frame import LZ4FrameFile

    return LZ4FrameFile(file, "rb")


# How a compressed file begins, and what reads it (joblib, compressor.py). All but lzma's old form end in a checksum.
_OPENERS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"x", lambda file: io.BufferedReader(_ZlibFile(file, zlib.MAX_WBITS))),
    (b"\x1f\x8b", lambda file: io.BufferedReader(_ZlibFile(file, zlib.MAX_WBITS | 16))),
    (b"BZ", bz2.BZ2File),
    (b"]\x00", lzma.LZMAFile),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"\x04\x22\x4d\x18", _open_lz4),
)
