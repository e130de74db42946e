"""Features of a model with columns: one meaning, however they are written."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from adapter.codec.decode_helper import decode
from adapter.errors import AdapterError, BadFeatures, MalformedJson
from converter.schema.manifest import ModelEntry
from tests.support.codecs import Coded
from tests.support.fakes.entries import make_columns_entry

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "dtype": "int8"},
    {"name": "city", "dtype": "string"},
    {"name": "income", "dtype": "float64", "nullable": True},
    {"name": "children", "dtype": "int64", "nullable": True},
    {"name": "owner", "dtype": "bool"},
]
ENTRY = make_columns_entry(COLUMNS)
NAMES = [str(column["name"]) for column in COLUMNS]
ROWS: list[list[Any]] = [[31, "Bern", 1.5, 2, True], [40.0, "Lima", None, None, False]]


def asked(features: Any, entry: ModelEntry = ENTRY) -> Any:
    return Coded(entry).decode(json.dumps({"features": features}).encode())


def refused(body: Any, entry: ModelEntry = ENTRY) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        Coded(entry).decode(body if isinstance(body, bytes) else json.dumps({"features": body}).encode())
    return caught.value


def record(row: list[Any]) -> dict[str, Any]:
    return dict(zip(NAMES, row, strict=True))


def by_column(rows: list[list[Any]], box: bool = False) -> dict[str, Any]:
    return {name: [[row[i]] if box else row[i] for row in rows] for i, name in enumerate(NAMES)}


FORMS = [
    pytest.param(lambda rows: rows, id="rows"),
    pytest.param(lambda rows: [record(row) for row in rows], id="records"),
    pytest.param(lambda rows: [dict(reversed(record(row).items())) for row in rows], id="records in another order"),
    pytest.param(by_column, id="columns"),
    pytest.param(lambda rows: by_column(rows, box=True), id="as several inputs"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[1:]])
def test_each_form_is_one_tensor_a_dtype(form: Any, rows: list[list[Any]]) -> None:
    arrays = asked(form(rows))
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "features.int8": ("int8", (len(rows), 1)),
        "features.string": ("object", (len(rows), 1)),
        "features.float64": ("float64", (len(rows), 2)),
        "features.bool": ("bool", (len(rows), 1)),
    }
    assert arrays["features.int8"].ravel().tolist() == [row[0] for row in rows]
    assert arrays["features.string"].ravel().tolist() == [row[1].encode() for row in rows]
    wanted = [[math.nan if value is None else value for value in row[2:4]] for row in rows]
    np.testing.assert_equal(arrays["features.float64"], wanted)
    assert arrays["features.bool"].ravel().tolist() == [row[4] for row in rows]


@pytest.mark.parametrize("features", [ROWS[0], record(ROWS[0])])
def test_one_row_may_stand_bare(features: Any) -> None:
    assert asked(features)["features.string"].tolist() == [[b"Bern"]]


def test_spaces_and_other_keys_do_not_matter() -> None:
    body = b' { "note" : {"a": [1]} ,\n "features" :\t[ \n [31, "a:b", 1, 2, true] ] } '
    assert Coded(ENTRY).decode(body)["features.string"].tolist() == [[b"a:b"]]
    body = b'{"features": {  "ag\\u0065" : [ 31 ] , "city":["x"],"income":[1],"children":[null],"owner":[true]}}'
    assert Coded(ENTRY).decode(body)["features.int8"].tolist() == [[31]]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in record(ROWS[0]).items() if key != name}


TWO: list[Any] = [record(ROWS[0]), record(ROWS[1])]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([*TWO, without("city")], "row 2: column city is missing."),
        ([{**TWO[0], "agee": 1}], 'row 0: the model has no column "agee" (did you mean age?).'),
        (without("age"), "row 0: column age is missing."),
        ({name: [1] for name in NAMES if name != "age"}, "row 0, column city: expected a string, got an integer."),
        ({**by_column(ROWS), "x": [1]}, 'row 0: the model has no column "x".'),
        ({**by_column(ROWS), "city": ["a"]},
         "Every column needs the same number of rows: age has 2, city has 1."),
        ([TWO[0], {**TWO[1], "city": None}],
         "null at row 1, column city: `nullable: true` of the column in model_config.yaml would allow it."),
        ([[31, None, 1, 1, True]],
         "null at row 0, column city: `nullable: true` of the column in model_config.yaml would allow it."),
        ([[31, "a", 1, 1, None]], "row 0, column owner: expected a boolean, got null."),
        ([31, "a", "1", 1, True], "row 0, column income: expected a number, got a string."),
        ({**by_column(ROWS), "children": [1, "2"]}, "row 1, column children: expected an integer, got a string."),
        ({**by_column(ROWS, box=True), "children": [[1], [2, 3]]},
         "row 1, column children: expected a list of one value."),
        ([ROWS[0], ROWS[1][:4]], "row 1 has another number of values than the model has columns: 5."),
        (ROWS[0][:2], "row 0 has another number of values than the model has columns: 5."),
        ([ROWS[0], 3], "row 1: expected a list, got an integer."),
        ([], "features has no rows."),
        ({name: [] for name in NAMES}, "features has no rows."),
        ("text", "features: expected a list or an object, got a string."),
        (None, "features: expected a list or an object, got null."),
        ([[200, "a", 1, 1, True]], "row 0, column age: the number does not fit int8, which the model takes."),
        ([ROWS[0], [1.5, "a", 1, 1, True]], "row 1, column age: expected an integer, got a number with a fraction or "
         "too large."),
        ([ROWS[0], [1, "a", 1, 2**53, True]], "row 1, column children: expected an integer, got a number with a "
         "fraction, or of 2**53 or more."),
    ],
)  # fmt: skip
def test_the_first_offender_is_named(features: Any, said: str) -> None:
    error = refused(features)
    assert isinstance(error, BadFeatures)
    assert error.detail == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"features": [[1, "a", 1e999, 1, true]]}', "row 0, column income: the number is out of range."),
        (b'{"features": [[1, "a", 1, 1, tru]]}', "The body is not JSON"),
        (b'{"features": {"age": 1, "city": "a", "income": 1, "children": 1, "owner": true, "age": 2}}',
         'The body has the key "age" twice in an object.'),
        (b'{"features": [{"age": 1, "city": "a:b", "income": 1, "children": 1, "owner": true, "city": "b"}]}',
         'The body has the key "city" twice in an object.'),
        (b'{"features": [[1, "\xff", 1, 1, true]]}', "The body is not UTF-8 at byte 19."),
    ],
)  # fmt: skip
def test_what_is_no_json_is_malformed(body: bytes, said: str) -> None:
    error = refused(body)
    assert isinstance(error, MalformedJson)
    assert error.detail.startswith(said)


STRANGE: list[Any] = [{"k" * 100_000: [1]}, [{"k" * 100_000: 1}], [{'"` - at `$[7]`': 1}]]


@pytest.mark.parametrize("features", STRANGE)
def test_answers_to_strange_names_are_short(features: Any) -> None:
    error = refused(features)
    assert isinstance(error, BadFeatures)
    assert len(error.detail.encode()) <= 1024


def test_requests_in_several_forms_are_joined() -> None:
    parser = Coded(ENTRY).codec.request
    bodies = [ROWS, [record(ROWS[0])], by_column(ROWS[1:])]
    requests = [parser.parse(json.dumps({"features": features}).encode()) for features in bodies]
    arrays = parser.to_arrays(requests)
    assert arrays["features.int8"].ravel().tolist() == [31, 40, 31, 40]
    assert arrays["features.string"].ravel().tolist() == [b"Bern", b"Lima", b"Bern", b"Lima"]
    np.testing.assert_equal(arrays["features.float64"][:, 0], [1.5, math.nan, 1.5, math.nan])


def test_the_example_is_records_that_are_taken() -> None:
    request = Coded(ENTRY).codec.request
    features = request.example_features(2)
    assert [list(row) for row in features] == [NAMES, NAMES]
    made = request.example(2)
    for name, array in asked(features).items():
        assert array.tolist() == made[name].tolist()


@pytest.mark.parametrize("form", FORMS)
def test_several_inputs_of_one_value_are_columns(form: Any) -> None:
    inputs = [{"shape": [-1, 1], **column} for column in COLUMNS]
    arrays = asked(form(ROWS), make_columns_entry((), input=inputs))
    assert list(arrays) == ["features.int8", "features.string", "features.float64", "features.bool"]
    assert arrays["features.string"].ravel().tolist() == [b"Bern", b"Lima"]


def test_columns_of_one_dtype_are_one_tensor_in_order() -> None:
    entry = make_columns_entry([{"name": name, "dtype": "float32"} for name in "bac"])
    assert asked([{"a": 1, "b": 2, "c": 3}], entry)["features.float32"].tolist() == [[2, 1, 3]]
    assert asked([4, 5, 6], entry)["features.float32"].tolist() == [[4, 5, 6]]


def test_a_body_of_one_row_has_room_for_names() -> None:
    long = make_columns_entry([{"name": f"{'é' * 200}{i}", "dtype": "float32"} for i in range(1000)])
    body = json.dumps({"features": [Coded(long).codec.request.example_features(1)[0]]})
    most = Coded(long).codec.request.most_bytes_of_a_row()
    assert most is not None
    assert len(body) <= most


def test_the_helper_reads_columns_too() -> None:
    head, pieces = decode(Coded(ENTRY).codec.request, json.dumps({"features": by_column(ROWS)}).encode())
    assert (head.rows, [part.shape for part in head.parts]) == (2, [[2, 1], [], [2, 2], [2, 1]])
    np.testing.assert_equal(np.frombuffer(pieces[2]), [1.5, 2, math.nan, math.nan])
