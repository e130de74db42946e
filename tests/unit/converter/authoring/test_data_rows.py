"""Rows of users' files, and how they come into a model's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.authoring.object_probe import CannotTell, data_rows

COLUMNS = {"form": "columns", "columns": [{"name": "city", "dtype": "string"}, {"name": "age", "dtype": "float64"}]}
MATRIX = {"form": "matrix", "dtype": "float64", "width": 2}


def read(folder: Path, name: str, text: str) -> data_rows.Data:
    (folder / name).write_text(text, encoding="utf-8")
    return data_rows.read(str(folder / name))


def test_a_csv_has_names_and_dtypes(tmp_path: Path) -> None:
    data = read(tmp_path, "r.csv", "age,city,height,member\n31,Bern,1.5,true\n40,,2,false\n")
    assert (data.names, data.named) == (["age", "city", "height", "member"], True)
    assert data.dtypes == ["int64", "string", "float64", "bool"]
    assert data.rows == [[31, "Bern", 1.5, True], [40, None, 2.0, False]]


def test_a_csv_without_names_is_all_rows(tmp_path: Path) -> None:
    data = read(tmp_path, "r.csv", "1,2.5\n3,4\n")
    assert (data.rows, data.named) == ([[1, 2.5], [3, 4.0]], False)


@pytest.mark.parametrize(
    "content",
    [
        [[31, "Bern"], [40, "Lima"]],
        [{"age": 31, "city": "Bern"}, {"age": 40, "city": "Lima"}],
        {"age": [31, 40], "city": ["Bern", "Lima"]},
        {"columns": ["age", "city"], "data": [[31, "Bern"], [40, "Lima"]]},
        {"features": [[31, "Bern"], [40, "Lima"]]},
    ],
)
def test_json_is_read_in_the_forms_that_people_have(tmp_path: Path, content: Any) -> None:
    assert read(tmp_path, "r.json", json.dumps(content)).rows == [[31, "Bern"], [40, "Lima"]]


def test_columns_are_taken_by_name_in_the_models_order(tmp_path: Path) -> None:
    data = read(tmp_path, "r.csv", "target,age,city\n1,31,Bern\n0,40,Lima\n")
    assert data_rows.fit(data, COLUMNS) == [["Bern", 31], ["Lima", 40]]


def test_an_array_of_numpy_is_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", np.array([[1.0, 2.0], [np.nan, 4.0]]))
    assert data_rows.fit(data_rows.read(str(tmp_path / "r.npy")), MATRIX) == [[1.0, 2.0], [None, 4.0]]


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("age,town\n31,Bern\n", COLUMNS, "the model takes a column city, and the data have age, town"),
        ("a,b,c\n1,2,3\n", MATRIX, r"the data have 3 columns \(a, b, c…\), and the model takes 2"),
        ("1,2\n3\n", MATRIX, "the lines of the file differ in length"),
        ("\n", MATRIX, "the file has no rows"),
        ("a,b\nx,y\n", {"form": "text"}, "the data have 2 columns of text: keep one"),
    ],
)
def test_data_that_do_not_fit_are_said(tmp_path: Path, text: str, form: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotTell, match=message) as raised:
        data_rows.fit(read(tmp_path, "r.csv", text), form)
    assert raised.value.key == "--data"
