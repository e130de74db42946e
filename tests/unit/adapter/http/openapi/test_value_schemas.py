"""What a model takes and answers, as JSON Schema: what fits passes, and what does not is found."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from adapter.http.openapi import value_schemas
from adapter.http.openapi.value_schemas import object_schema, squash, value_schema
from converter.schema import dtypes
from tests.support.fakes.entries import make_columns_entry, make_entry


def fits(schema: dict[str, Any], value: Any) -> bool:
    return not list(jsonschema.Draft202012Validator(schema).iter_errors(value))


@pytest.mark.parametrize(
    ("dtype", "right", "wrong"),
    [
        ("float32", [1, -1.5], ["1", True, None]),
        ("int8", [-128, 127, 1.0], [-129, 128, 1.5, "1", None]),
        ("uint16", [0, 65535], [-1, 65536]),
        ("uint64", [0, 2**64 - 1], [-1]),
        ("int64", [-(2**63), 2**63 - 1], [0.5]),
        ("bool", [True], [1, "true"]),
        ("string", ["", "é"], [1, None]),
    ],
)
def test_values_of_a_dtype(dtype: str, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value_schema(dtype), value)] == []
    assert [value for value in wrong if fits(value_schema(dtype), value)] == []
    assert fits(value_schema(dtype, nullable=True), None)
    assert {item.name for item in dtypes.DTYPES if fits(value_schema(item.name), None)} == set()


@pytest.mark.parametrize("one_row", [False, True])
def test_rows_have_their_width_and_their_number(one_row: bool) -> None:
    schema = value_schemas.features_schema(make_entry(inputs=[("x", "int32", (3,))]), {}, one_row)
    assert fits(schema, [[1, 2, 3]])
    assert fits(schema, [[1, 2, 3], [4, 5, 6]]) != one_row
    assert not any(fits(schema, wrong) for wrong in ([], [[1, 2]], [[1, 2, 3, 4]], [1, 2, 3], [[1, 2, "3"]], None))


def test_free_axes_are_of_any_size_but_none() -> None:
    schema = value_schemas.features_schema(make_entry(inputs=[("x", "float32", (-1, 2))]), {}, False)
    assert fits(schema, [[[1, 2]]]) and fits(schema, [[[1, 2], [3, 4]]])
    assert not fits(schema, [[]]) and not fits(schema, [[[1]]])


def test_texts_are_a_flat_list() -> None:
    schema = value_schemas.features_schema(make_entry(inputs=[("x", "string", ())]), {}, False)
    assert fits(schema, ["a", "b"])
    assert not fits(schema, [["a"]])


def test_several_inputs_are_an_object_by_name() -> None:
    entry = make_entry(inputs=[("a", "int64", (1,)), ("b", "string", (2,))], nullable=["a"], backend="joblib",
                       model_args={"model_file": "m.joblib"})  # fmt: skip
    schema = value_schemas.features_schema(entry, {}, False)
    assert fits(schema, {"a": [[1], [None]], "b": [["x", "y"]]})
    assert not fits(schema, {"a": [[1]]})
    assert not fits(schema, {"a": [[1]], "b": [["x"]]})


def test_records_have_each_column_and_no_other() -> None:
    entry = make_columns_entry(
        [{"name": "age", "dtype": "int64", "nullable": True}, {"name": "class", "dtype": "string"}]
    )
    record = value_schemas.record_schema(entry.columns)
    schema = value_schemas.features_schema(entry, record, False)
    assert fits(schema, [{"age": None, "class": "x"}, {"class": "y", "age": 3}])
    for wrong in ({"age": 1}, {"age": 1, "class": "x", "more": 1}, {"age": "1", "class": "x"}, [1, "x"]):
        assert not fits(schema, [wrong])


@pytest.mark.parametrize(
    "names", [("Age", "age"), ("a b", "a_b"), ("€", "x"), ("to_dict", "x"), ("d", "x"), ("ﬁ", "fi"), ("²", "x")]
)
def test_names_that_classes_cannot_have_are_keys_of_a_dictionary(names: tuple[str, str]) -> None:
    """Generators leave out a whole operation over two attributes of one name."""
    schema = object_schema([(names[0], value_schema("float64")), (names[1], value_schema("string", True))])
    assert "properties" not in schema
    assert fits(schema, {names[0]: 1.5, names[1]: None})
    assert not fits(schema, {names[0]: 1.5})
    assert not fits(schema, {names[0]: 1.5, names[1]: "x", "another": 1})


def test_an_object_of_very_many_names_says_how_many() -> None:
    schema = object_schema((f"c{i}", value_schema("int8")) for i in range(1001))
    assert len(str(schema)) < 200
    assert fits(schema, {f"c{i}": 1 for i in range(1001)}) and not fits(schema, {"c0": 1})
    assert len(object_schema((f"c{i}", value_schema("int8")) for i in range(1000))["properties"]) == 1000


@pytest.mark.parametrize(("name", "kept"), [("A b-C_d.1", "abcd1"), ("größe", "grösse"), ("€", ""), ("__", "")])
def test_what_generated_code_keeps_of_a_name(name: str, kept: str) -> None:
    assert squash(name) == kept


@pytest.mark.parametrize(
    ("outputs", "classes", "plain", "labelled"),
    [
        ([("p", "float32", (2,))], ["no", "yes"], [[0.1, 0.9]], [{"no": 0.1, "yes": 0.9}]),
        ([("p", "string", (1,))], ["no", "yes"], [["no"]], [{"label": "no"}]),
        ([("p", "int64", (1,))], ["no", "yes"], [[1]], [{"label": "yes"}]),
        ([("p", "int64", (1,))], [3, 7], [[3]], [{"label": 3}]),
    ],
)  # fmt: skip
def test_answers_plain_and_with_labels(outputs: Any, classes: list[Any], plain: Any, labelled: Any) -> None:
    entry = make_entry(outputs=outputs, classes=classes)
    labels = value_schemas.label_schemas(entry)
    assert list(labels) == ["p"]
    assert fits(value_schemas.predictions_schema(entry, {}), plain)
    assert not fits(value_schemas.predictions_schema(entry, {}), labelled)
    assert fits(value_schemas.predictions_schema(entry, labels), labelled)
    assert not fits(value_schemas.predictions_schema(entry, labels), plain)


def test_answers_of_several_outputs_and_with_null() -> None:
    entry = make_entry(outputs=[("a", "float32", (2,)), ("b", "int64", (1,))], non_finite=None)
    schema = value_schemas.predictions_schema(entry, {})
    assert fits(schema, {"a": [[1.5, None]], "b": [[1]]})
    assert not fits(schema, {"a": [[1.5, None]], "b": [[None]]})
    assert value_schemas.label_schemas(entry) == {}
