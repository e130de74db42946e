"""Arrays of joblib files stay on the disk, where they can."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from triton_repo_template.runtime.checked_file import CheckedFile
from triton_repo_template.runtime.loaders import read_joblib


class Weights:
    """What a user's own class looks like: arrays in attributes."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = array


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(item.message) for item in caught] == []


def read(path: Path) -> Any:
    file = CheckedFile(path)
    try:
        return read_joblib(file)
    finally:
        file.close()


def test_arrays_are_mapped_and_writing_changes_neither_the_file_nor_other_instances(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(Weights(np.arange(10_000.0)), path)
    before = path.read_bytes()
    one, other = read(path), read(path)
    assert isinstance(one.array, np.memmap)
    one.array[0] = 5
    assert (one.array[0], other.array[0]) == (5, 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("compress", ["zlib", "lzma", 3])
def test_a_compressed_file_is_read(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(Weights(np.arange(100.0)), path, compress=compress)
    array = read(path).array
    assert type(array) is np.ndarray
    assert array.tolist() == list(range(100))


def test_an_array_of_another_byte_order_is_right(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(Weights(np.arange(100, dtype=">f8")), path)
    assert (read(path).array + 1).tolist() == list(range(1, 101))


def test_a_model_of_mapped_arrays_answers_the_same(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(200, 8))
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    joblib.dump(model, tmp_path / "m.joblib")
    loaded = read(tmp_path / "m.joblib")
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
