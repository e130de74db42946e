"""Rows as other dialects write them come to the same as in our own form, or are refused in the client's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapter.codec.codec import make_parser
from adapter.dialects.scoring.foreign_body import parse_foreign
from adapter.errors import AdapterError, BadFeatures, MalformedJson, SchemaMismatch
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_columns_entry, make_entry

FOUR = make_entry()
ONE = make_entry(inputs=(("x", "float64", (1,)),))
IMAGE = make_entry(inputs=(("x", "float32", (2, 2)),))
TEXTS = make_entry(inputs=(("words", "string", ()),))
TWO = make_entry(inputs=(("left", "float32", (2,)), ("right", "int64", (1,))))
MIXED = make_entry(inputs=(("word", "string", ()), ("size", "float32", (1,))))
COLUMNS = make_columns_entry(
    [
        {"name": "age", "dtype": "int64"},
        {"name": "city", "dtype": "string", "nullable": True},
        {"name": "income", "dtype": "float64", "nullable": True},
    ]
)
SEVERAL = make_columns_entry(
    [],
    input=[{"name": "a", "shape": [-1, 1], "dtype": "int64"}, {"name": "b", "shape": [-1], "dtype": "float64"}],
)
RECORDS = [{"city": "Bern", "income": 1.5, "age": 31}, {"income": None, "age": 40, "city": None}]
OURS = [{"age": 31, "city": "Bern", "income": 1.5}, {"age": 40, "city": None, "income": None}]


def read(reader: str, body: Any, entry: ModelEntry) -> Any:
    features, _ = parse_foreign(reader, make_parser(entry), as_bytes(body))
    return features


def as_bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def ours(features: Any, entry: ModelEntry) -> Any:
    return make_parser(entry).parse(as_bytes({"features": features}))


def refused(reader: str, body: Any, entry: ModelEntry) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        read(reader, body, entry)
    return caught.value


@pytest.mark.parametrize(
    ("entry", "instances", "features"),
    [
        (FOUR, [[1, 2, 3, 4], [5, 6, 7, 8.5]], [[1, 2, 3, 4], [5, 6, 7, 8.5]]),
        (FOUR, [{"x": [1, 2, 3, 4]}], [[1, 2, 3, 4]]),
        (ONE, [1, 2.5, 3], [[1], [2.5], [3]]),
        (ONE, [[1], [2.5]], [[1], [2.5]]),
        (ONE, [{"x": 1}, {"x": [2.5]}], [[1], [2.5]]),
        (IMAGE, [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]]]),
        (TEXTS, ["a", "b, ] c"], ["a", "b, ] c"]),
        (TEXTS, [{"words": "a"}, {"words": "b"}], ["a", "b"]),
        (TWO, [{"right": 3, "left": [1, 2]}, {"left": [4, 5], "right": [6]}],
         {"left": [[1, 2], [4, 5]], "right": [[3], [6]]}),
        (MIXED, [{"word": "é", "size": 1}], {"word": ["é"], "size": [[1]]}),
        (SEVERAL, [{"b": [1.5], "a": [3]}, {"b": 2.5, "a": 4}], [{"a": 3, "b": 1.5}, {"a": 4, "b": 2.5}]),
        (COLUMNS, RECORDS, OURS),
        (COLUMNS, [[31, "Bern", 1.5], [40, None, None]], OURS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", ["v1", "mlflow"])
def test_instances(reader: str, entry: ModelEntry, instances: Any, features: Any) -> None:
    assert read(reader, {"instances": instances}, entry) == ours(features, entry)


@pytest.mark.parametrize(
    ("entry", "body", "features"),
    [
        (FOUR, {"inputs": [[1, 2, 3, 4]]}, [[1, 2, 3, 4]]),
        (FOUR, {"inputs": {"x": [[1, 2, 3, 4]]}}, [[1, 2, 3, 4]]),
        (ONE, {"inputs": {"x": [1, 2]}}, [[1], [2]]),
        (TWO, {"inputs": {"right": [3, 6], "left": [[1, 2], [4, 5]]}}, {"left": [[1, 2], [4, 5]], "right": [[3], [6]]}),
        (TWO, {"inputs": {"right": [[3]], "left": [[1, 2]]}}, {"left": [[1, 2]], "right": [[3]]}),
        (MIXED, {"inputs": {"size": [1], "word": ["a"]}}, {"word": ["a"], "size": [[1]]}),
        (COLUMNS, {"inputs": {"city": ["Bern", None], "income": [1.5, None], "age": [31, 40]}}, OURS),
        (COLUMNS, {"inputs": RECORDS}, OURS),
        (COLUMNS, {"dataframe_records": RECORDS}, OURS),
        (COLUMNS, {"dataframe_split": {"index": [7, 8], "columns": ["income", "age", "city"],
                                       "data": [[1.5, 31, "Bern"], [None, 40, None]]}}, OURS),
        (COLUMNS, {"dataframe_split": {"columns": ["age", "city", "income"],
                                       "data": [[31, "Bern", 1.5], [40, None, None]]}}, OURS),
        (COLUMNS, {"dataframe_split": {"data": [[31, "Bern", 1.5], [40, None, None]]}}, OURS),
        (FOUR, {"dataframe_split": {"columns": [0, 1, 2, 3], "data": [[1, 2, 3, 4]]}}, [[1, 2, 3, 4]]),
        (FOUR, {"dataframe_records": [{"d": 1, "c": 2, "b": 3, "a": 4}, {"a": 8, "b": 7, "c": 6, "d": 5}]},
         [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (FOUR, {"dataframe_records": [{"x": [1, 2, 3, 4]}]}, [[1, 2, 3, 4]]),
        (TWO, {"dataframe_split": {"columns": ["right", "left"], "data": [[3, [1, 2]], [6, [4, 5]]]}},
         {"left": [[1, 2], [4, 5]], "right": [[3], [6]]}),
        (TEXTS, {"dataframe_split": {"columns": ["any"], "data": [["a"], ["b"]]}}, ["a", "b"]),
        (FOUR, {"inputs": [[1, 2, 3, 4]], "params": {}}, [[1, 2, 3, 4]]),
    ],
)  # fmt: skip
def test_mlflows_forms(entry: ModelEntry, body: Any, features: Any) -> None:
    assert read("mlflow", body, entry) == ours(features, entry)


@pytest.mark.parametrize("where", ["instances", "inputs", "dataframe_records"])
@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"age": 1, "city": "x"}, "row 0: column income is missing."),
        ({"age": 1, "city": "x", "income": 1, "incom": 2},
         'row 0: the model has no column "incom" (did you mean income?).'),
    ],
)  # fmt: skip
def test_records_of_other_columns_are_400(where: str, record: Any, said: str) -> None:
    error = refused("mlflow", {where: [record]}, COLUMNS)
    assert (type(error), error.detail) == (SchemaMismatch, said)


@pytest.mark.parametrize(
    ("entry", "body", "said"),
    [
        (COLUMNS, {"dataframe_split": {"columns": ["age", "town"], "data": [[1, "x"]]}},
         'columns: the columns "city", "income" are missing, and the model has no column "town".'),
        (COLUMNS, {"dataframe_split": {"columns": ["age", "city", "income", "a", "b"], "data": [[1, "x", 1, 2, 3]]}},
         'columns: the model has no columns "a", "b".'),
        (COLUMNS, {"dataframe_split": {"columns": ["age", "city", "income", "age"], "data": [[1, "x", 1, 2]]}},
         'columns: the column "age" stands there twice.'),
        (COLUMNS, {"inputs": {"age": [1], "city": ["x"]}}, 'inputs: the column "income" is missing.'),
        (TWO, {"inputs": {"left": [[1, 2]], "rihgt": [1]}},
         'inputs: the input "right" is missing, and the model has no input "rihgt" (did you mean right?).'),
        (TWO, {"instances": [{"left": [1, 2], "right": 1}, {"left": [1, 2]}]},
         'instances[1]: the input "right" is missing.'),
        (FOUR, {"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}]},
         'instances[0]: the input "x" is missing, and the model has no inputs "a", "b", "c", "d".'),
        (FOUR, {"dataframe_records": [{"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1, "b": 2, "c": 3}]},
         "dataframe_records[1] has other columns than dataframe_records[0]: a, b, c."),
    ],
)  # fmt: skip
def test_missing_and_unknown_names_are_400(entry: ModelEntry, body: Any, said: str) -> None:
    error = refused("mlflow", body, entry)
    assert (type(error), error.detail) == (SchemaMismatch, said)


@pytest.mark.parametrize(
    ("reader", "entry", "body", "said"),
    [
        ("v1", FOUR, {}, "The field instances is missing."),
        ("v1", FOUR, [], "the body: expected an object, got a list."),
        ("v1", FOUR, {"instances": []}, "instances has no rows."),
        ("v1", FOUR, {"instances": {"x": []}}, "instances: expected a list, got an object."),
        ("v1", FOUR, {"instances": [1, 2, 3, 4]}, "instances[0]: expected a list of the row's values, got a number."),
        ("v1", FOUR, {"instances": [[1, 2, 3]]}, "instances[0] has 3 values, and the model takes 4."),
        ("v1", FOUR, {"instances": [[1, 2, 3, 4], [1, 2, None, 4]]}, "instances[1][2]: expected a number, got null"
         ", which `nullable: true` in its model_config.yaml would allow."),
        ("v1", FOUR, {"instances": [{"x": [1, 2, 3, 4]}, [1]]}, "instances[1]: expected an object, got a list."),
        ("v1", TWO, {"instances": [[1, 2]]},
         "instances: the model has several inputs: send each row as an object with left, right."),
        ("v1", COLUMNS, {"instances": [[1, "x"]]},
         "row 0 has another number of values than the model has columns: 3."),
        ("mlflow", FOUR, {"instances": [[1]], "inputs": [[1]]}, "The body needs one of the fields dataframe_split, "
         "dataframe_records, instances, inputs, and has 2 of them."),
        ("mlflow", FOUR, {"columns": ["a"], "data": [[1]]}, "The body needs one of the fields dataframe_split, "
         "dataframe_records, instances, inputs, and has 0 of them."),
        ("mlflow", FOUR, {"inputs": [[1, 2, 3, 4]], "params": {"p": 1}},
         "params: the models of this server take no parameters."),
        ("mlflow", FOUR, {"dataframe_split": {"columns": []}}, "The field dataframe_split.data is missing."),
        ("mlflow", FOUR, {"dataframe_split": [[1]]}, "dataframe_split: expected an object, got a list."),
        ("mlflow", FOUR, {"dataframe_split": {"columns": [[1]], "data": [[1]]}},
         "dataframe_split.columns[0]: expected a name, got a list."),
        ("mlflow", COLUMNS, {"dataframe_split": {"columns": ["city", "age", "income"], "data": [["x", 1]]}},
         "dataframe_split.data[0] has 2 values, and there are 3 columns."),
        ("mlflow", FOUR, {"dataframe_split": {"data": [[1, 2, 3, "x"]]}},
         "dataframe_split.data[0][3]: expected a number, got a string."),
        ("mlflow", FOUR, {"inputs": {"x": 1}}, "inputs.x: expected a list, got a number."),
    ],
)  # fmt: skip
def test_what_the_model_does_not_take_is_named(reader: str, entry: ModelEntry, body: Any, said: str) -> None:
    error = refused(reader, body, entry)
    assert (type(error), error.detail) == (BadFeatures, said)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"instances": [[1, 2, 3, 4]]} x', b'{"instances": [[1, 2, 3, 4,]]}', b'{"instances": [[NaN]]}',
        b'{"instances": [[1, 2, 3, 4]], "instances": [[1, 2, 3, 4]]}',
        b'{"instances": [{"x": [1, 2, 3, 4], "x": [1, 2, 3, 4]}]}',
        b'{"instances": [[1, 2, 3, 4]], "note": {"a": 1, "a": 2}}', b'{"note": "\xff", "instances": [[1, 2, 3, 4]]}',
        b'{"instances": [[1, 2, 3, 1e999]]}', b'{"instances": ' + b"[" * 5000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", ["v1", "mlflow"])
def test_what_is_not_json_is_malformed(reader: str, body: bytes) -> None:
    assert type(refused(reader, body, FOUR)) is MalformedJson


@pytest.mark.parametrize("reader", ["v1", "mlflow"])
def test_a_byte_order_mark_and_colons_in_strings_are_harmless(reader: str) -> None:
    body = b'\xef\xbb\xbf { "a:b": "c:d", "instances" : [ [1, 2, 3, 4] ] }'
    assert read(reader, body, FOUR) == ours([[1, 2, 3, 4]], FOUR)
