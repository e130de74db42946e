"""What a joblib or pickle file would do when it is loaded, without running it: what it makes, calls and refers to."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from converter.trust.inflating import CHUNK, HashedFile, TooLarge, most_inflated, open_inflated
from converter.trust.pickle_interpreter import Contents, interpret_pickle

__all__ = ["Contents", "DamagedPickle", "TooLarge", "most_inflated", "read", "read_stream"]
# joblib before 0.10, which kept arrays in files beside.
_OLD_JOBLIB = b"ZF"


class DamagedPickle(Exception):
    """The file ends too early, or is not a pickle at all."""


def read(path: Path) -> Contents:
    """Read what a file does. Raises TooLarge, and DamagedPickle also if a checksum of its compression fails."""
    contents = Contents()
    with open(path, "rb", buffering=0) as raw:
        hashed = HashedFile(raw)
        file: Any = io.BufferedReader(hashed, CHUNK)
        read_stream(file, os.fstat(raw.fileno()).st_size, contents)
        while file.read(CHUNK):
            pass
        contents.sha256 = hashed.digest.hexdigest()
    return contents


def read_stream(file: Any, size: int, contents: Contents) -> None:
    """Read the one pickle of an open file, which has `peek` and is `size` bytes long, as joblib would."""
    try:
        if file.peek(2).startswith(_OLD_JOBLIB):
            contents.add_problem("a file of joblib 0.9 or older: save the model anew")
            return
        inflated = open_inflated(file, size)
        interpret_pickle(inflated, contents)
        # To the end, where the checksum is. A second pickle there is never read.
        inflated.drain()
    except (TooLarge, MemoryError):
        raise
    except Exception as error:
        if contents.problems:
            # It is refused, and what comes after is not what it seems.
            return
        raise DamagedPickle(f"{type(error).__name__}: {error}") from error
