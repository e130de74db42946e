"""What a joblib or pickle file says of itself, without running it: the classes it needs, and who wrote it.

The file is read opcode by opcode with stand-ins in the place of every class and function, so nothing that it names is
imported or called. joblib (0.10 and later) writes the bytes of an array right behind the opcodes that describe it
(joblib, numpy_pickle.py: NumpyArrayWrapper); these are passed over.
"""

from __future__ import annotations

import _compat_pickle
import bz2
import gzip
import hashlib
import io
import lzma
import math
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_CHUNK = 1024 * 1024
_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")
# How a compressed file begins, and what reads it; each checks a sum at its end but lzma's old form.
_OPENERS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZ", bz2.BZ2File),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"]\x00", lzma.LZMAFile),
    (b"x", lambda file: io.BufferedReader(_ZlibFile(file))),
)
_LZ4 = b"\x04\x22\x4d\x18"


# How much a compressed file may inflate to: what models of a usual size do, and what dense numbers ever do.
_FREE_INFLATED = 1024 * 1024 * 1024
_MOST_RATIO = 20


class DamagedPickle(Exception):
    """The file ends too early, or is not a pickle at all."""


class TooLarge(Exception):
    """The file inflates to more than so many bytes."""


def most_inflated(size: int) -> int:
    """Return how many bytes a file of this size may inflate to."""
    return _FREE_INFLATED + _MOST_RATIO * size


@dataclass
class Contents:
    """`names` are the classes and functions by module; `sklearn` are the versions that its estimators were saved by.

    `sha256` is that of the very bytes that were read, all of the file.
    """

    names: set[tuple[str, str]] = field(default_factory=set)
    sklearn: set[str] = field(default_factory=set)
    sha256: str = ""


def read(path: Path) -> Contents:
    """Read what a file names. Raises TooLarge, and DamagedPickle also if a checksum of its compression fails."""
    contents = Contents()
    try:
        with open(path, "rb", buffering=0) as raw:
            hashed = _HashedFile(raw)
            file: Any = io.BufferedReader(hashed, _CHUNK)
            # lz4 needs a library that is not ours; joblib has it if the model loads at all.
            if not file.peek(len(_LZ4)).startswith(_LZ4):
                _read_pickle(file, os.fstat(raw.fileno()).st_size, contents)
            while file.read(_CHUNK):
                pass
            contents.sha256 = hashed.digest.hexdigest()
    except (TooLarge, MemoryError):
        raise
    except Exception as error:
        raise DamagedPickle(f"{type(error).__name__}: {error}") from error
    return contents


def _read_pickle(raw: Any, size: int, contents: Contents) -> None:
    start = raw.peek(8)
    opener = next((opener for prefix, opener in _OPENERS if start.startswith(prefix)), None)
    file = _Counted(raw, size) if opener is None else _Counted(opener(raw), most_inflated(size))
    _Reader(file, contents).load()
    # To the end, where the checksum is.
    while file.read(_CHUNK):
        pass


class _HashedFile(io.RawIOBase):
    """Hashes a file as it is read, so that what is hashed and what is read cannot differ."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:size])
        return size


class _ZlibFile(io.RawIOBase):
    """Inflates a file of zlib's format as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_CHUNK)
            found = self._inflate.decompress(data, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)
            if not data:
                raise EOFError("the compressed data ends too early")
        return 0


class _Counted:
    """A file that is read up to so many bytes; reading raises TooLarge if it has more."""

    def __init__(self, file: Any, most: int) -> None:
        self._file = file
        self._most = self._left = most

    def read(self, size: int = -1) -> bytes:
        if 0 <= size <= self._left:
            return self._take(self._file.read(size))
        # More than may be there: which it is shows without keeping any of it.
        while chunk := self._file.read(_CHUNK):
            self._take(chunk)
        return b""

    def readline(self) -> bytes:
        return self._take(self._file.readline(self._left + 1))

    def _take(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(self._most)
        return data


class _StandIn:
    """Stands for any object, class or function; `kind` is the name of what made it, if that has one."""

    def __init__(self, kind: tuple[str, str] | None = None) -> None:
        self.kind = kind


# typeshed knows only the C unpickler, which cannot be overridden opcode by opcode.
_PythonUnpickler: Any = pickle._Unpickler


class _Reader(_PythonUnpickler):  # type: ignore[misc]  # Any, as above
    dispatch: dict[int, Any] = dict(_PythonUnpickler.dispatch)  # noqa: RUF012  (the base class reads it here)

    def __init__(self, file: _Counted, contents: Contents) -> None:
        super().__init__(file)
        self.proto = 0
        self._file = file
        self._contents = contents

    def find_class(self, module: str, name: str) -> Any:
        if self.proto < 3:
            # As it is loaded: under the names of Python 3.
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        self._contents.names.add((module, name))
        return _StandIn((module, name))

    def persistent_load(self, pid: Any) -> Any:
        return _StandIn()

    def get_extension(self, code: int) -> None:
        self.append(_StandIn())

    def _instantiate(self, kind: Any, args: Any) -> None:
        self.append(_StandIn(getattr(kind, "kind", None)))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        kind = getattr(self.stack[-1], "kind", None)
        self.stack[-1] = _numpy_dtype(args) if kind == ("numpy", "dtype") else _StandIn(kind)

    def load_newobj(self) -> None:
        self.stack.pop()
        self.stack[-1] = _StandIn(getattr(self.stack[-1], "kind", None))

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if not isinstance(built, _StandIn):
            built.__setstate__(state)
        elif built.kind == _ARRAY:
            self._pass_over(state)
        elif isinstance(state, dict) and isinstance(state.get("_sklearn_version"), str):
            self._contents.sklearn.add(state["_sklearn_version"])

    def load_bytearray8(self) -> None:
        """Python's own makes room for as many bytes as the file claims before it reads one."""
        (size,) = struct.unpack("<Q", self.read(8))
        data = self.read(size)
        if len(data) != size:
            raise EOFError("the file ends within a bytearray")
        self.append(bytearray(data))

    def load_append(self) -> None:
        self.load_appends([self.stack.pop()])

    def load_appends(self, items: list[Any] | None = None) -> None:
        items = self.pop_mark() if items is None else items
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.load_setitems([key, value])

    def load_setitems(self, items: list[Any] | None = None) -> None:
        items = self.pop_mark() if items is None else items
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_additems(self) -> None:
        items = self.pop_mark()
        if isinstance(self.stack[-1], set):
            self.stack[-1].update(items)

    def _pass_over(self, state: Mapping[str, Any]) -> None:
        """Pass over the bytes of an array that lie here in the file."""
        dtype, shape = state["dtype"], state["shape"]
        if dtype.hasobject:
            _Reader(self._file, self._contents).load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._skip(self._file.read(1)[0])
        self._skip(dtype.itemsize * math.prod(shape))

    def _skip(self, size: int) -> None:
        while size > 0:
            got = len(self._file.read(min(size, _CHUNK)))
            if not got:
                raise EOFError("the file ends within an array")
            size -= got

    dispatch |= {
        pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj, pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build, pickle.APPEND[0]: load_append, pickle.APPENDS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.ADDITEMS[0]: load_additems,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }  # fmt: skip


def _numpy_dtype(args: tuple[Any, ...]) -> Any:
    import numpy as np

    return np.dtype(*args)
