"""Tests for the reader of pickles: what it says of a file, without running it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import lz4.frame
import numpy as np
import pytest

from converter.trust import pickle_reader


def _joblib(value: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


_MODEL = _joblib({"weights": np.arange(300_000.0), "name": "m"})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_MODEL, id="joblib"),
        pytest.param(pickle.dumps([1]) + b"behind", id="trailing"),
    ],
)
def test_the_hash_is_that_of_the_whole_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.joblib").write_bytes(data)
    assert pickle_reader.read(tmp_path / "m.joblib").sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bz2.compress, lzma.compress, lz4.frame.compress])
def test_the_hash_is_that_of_the_compressed_bytes(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = compress(_MODEL)
    (tmp_path / "m.joblib").write_bytes(data)
    assert pickle_reader.read(tmp_path / "m.joblib").sha256 == hashlib.sha256(data).hexdigest()
