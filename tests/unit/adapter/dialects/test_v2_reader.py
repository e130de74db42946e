"""V2 requests → rows of a model's tensors, in each way that they may be written; and what is said of wrong ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapter.codec.codec import Codec
from adapter.dialects.v2_form import V2Form, v2_codec
from adapter.dialects.v2_reader import V2Asked, V2Reader
from adapter.errors import AdapterError, BadTensor, MalformedJson
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_columns_entry, make_entry

M = make_entry("m")
DTYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "int8": "INT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL",
}  # fmt: skip
TABLE = make_columns_entry(
    [
        {"name": "age", "dtype": "int64"},
        {"name": "city", "dtype": "string", "nullable": True},
        {"name": "children", "dtype": "int64", "nullable": True},
        {"name": "income", "dtype": "float64", "nullable": True},
    ]
)


def part(name: str = "x", shape: Sequence[int] = (1, 4), datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def x(data: Any = (1, 2, 3, 4.5), **more: Any) -> dict[str, Any]:
    return part(**{"data": data, **more})


def body(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def raw(*inputs: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, int]:
    """A body with raw tensors, and how much of it is JSON."""
    described = [{**item, "parameters": {"binary_data_size": len(data)}} for item, data in inputs]
    head = body(*described, **more)
    return head + b"".join(data for _, data in inputs), len(head)


def texts(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "little") + value for value in values)


def arrays(entry: ModelEntry, content: bytes, head: int | None = None) -> dict[str, Any]:
    """The tensors that a request comes to, by their names."""
    codec = Codec(entry)
    features, _ = V2Reader(entry).read(content, head)
    return {name: array.tolist() for name, array in codec.request.to_arrays([features]).items()}


def error(entry: ModelEntry, content: bytes, head: int | None = None) -> AdapterError:
    codec, form = Codec(entry), V2Form(head)
    with pytest.raises(AdapterError) as raised:
        codec.request.to_arrays([form.parse(content, codec)])
    told = form.translate(raised.value, codec)
    assert isinstance(told, AdapterError)
    return told


@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_nested_and_raw_values_are_the_same(dtype: str, rows: int) -> None:
    entry = make_entry(inputs=[("x", dtype, (3,))])
    array = (np.arange(rows * 3) % 2 if dtype == "bool" else np.arange(rows * 3) % 100 + 1).astype(dtype)
    array = array.reshape(rows, 3)
    described = part(shape=array.shape, datatype=DTYPES[dtype])
    for data in (array.ravel().tolist(), array.tolist()):
        assert arrays(entry, body({**described, "data": data})) == {"x": array.tolist()}
    assert arrays(entry, *raw((described, array.tobytes()))) == {"x": array.tolist()}


@pytest.mark.parametrize("rows", [1, 40])
def test_rows_of_several_axes(rows: int) -> None:
    entry = make_entry(inputs=[("x", "float32", (2, 3))])
    array = np.arange(rows * 6, dtype=np.float32).reshape(rows, 2, 3)
    for data in (array.ravel().tolist(), array.tolist()):
        assert arrays(entry, body(x(data, shape=array.shape))) == {"x": array.tolist()}
    assert arrays(entry, *raw((part(shape=array.shape), array.tobytes()))) == {"x": array.tolist()}


def test_a_free_axis_has_the_size_of_the_shape() -> None:
    entry = make_entry(inputs=[("x", "float32", (-1,))])
    assert arrays(entry, body(x([1, 2, 3, 4, 5, 6], shape=[2, 3]))) == {"x": [[1, 2, 3], [4, 5, 6]]}


def test_texts_are_strings_or_bytes_and_may_have_colons() -> None:
    entry = make_entry(inputs=[("x", "string", ())])
    for shape in ([3], [3, 1]):
        described = part(shape=shape, datatype="BYTES")
        wanted = {"x": [[b"a:b"], ["größe".encode()], [b""]]}
        assert arrays(entry, body({**described, "data": ["a:b", "größe", ""]})) == wanted
        assert arrays(entry, *raw((described, texts(b"a:b", "größe".encode(), b"")))) == wanted


def test_several_inputs_in_any_order_and_each_in_its_way() -> None:
    entry = make_entry(inputs=[("a", "int64", (1,)), ("b", "float32", (2,))])
    given = part("b", [2, 2], "FP32"), np.arange(4, dtype=np.float32).tobytes()
    wanted = {"a": [[7], [8]], "b": [[0, 1], [2, 3]]}
    assert arrays(entry, *raw(given, (part("a", [2], "INT64"), np.array([7, 8]).tobytes()))) == wanted
    a, b = part("a", [2, 1], "INT64", data=[7, 8]), part("b", [2, 2], "FP32", data=[[0, 1], [2, 3]])
    assert arrays(entry, body(b, a)) == arrays(entry, body(a, b)) == wanted
    content, head = raw(given)
    mixed = content[:head].replace(b'"inputs": [', b'"inputs": [' + json.dumps(a).encode() + b", ")
    assert arrays(entry, mixed + content[head:], len(mixed)) == wanted


def test_what_may_be_left_out_may_be_null() -> None:
    """As pydantic writes it, in the clients of MLServer and KServe."""
    given = x(parameters=None)
    for outputs in (None, [{"name": "y", "parameters": None}]):
        content = body(given, id=None, parameters=None, outputs=outputs)
        assert arrays(M, content) == {"x": [[1, 2, 3, 4.5]]}
        _, asked = V2Reader(M).read(content, None)
        assert (asked.id, asked.raw) == (None, False)
    rows = np.array([[4, 3, 2, 1.5]], np.float32)
    assert arrays(M, *raw((part(data=None), rows.tobytes()))) == {"x": rows.tolist()}
    assert error(M, body(part(data=None))).detail == 'input "x" has no data.'
    twice = body(given, id=None, outputs=None).replace(b'"id": null', b'"id": null, "id": null')
    assert isinstance(error(M, twice), MalformedJson)
    assert error(M, body(x(), id=7)).detail == "id: expected a string, got an integer."


def test_missing_values_are_null_or_nan() -> None:
    entry = make_entry(inputs=[("x", "float32", (2,))], nullable=["x"])
    (row,) = arrays(entry, body(x([1, None], shape=[1, 2])))["x"]
    assert row[0] == 1 and math.isnan(row[1])
    (row,) = arrays(entry, *raw((part(shape=[1, 2]), np.array([1, np.nan], np.float32).tobytes())))["x"]
    assert row[0] == 1 and math.isnan(row[1])
    infinite = raw((part(shape=[1, 2]), np.array([1, np.inf], np.float32).tobytes()))
    assert error(entry, *infinite).detail.startswith('input "x" has Infinity')


def test_columns_are_inputs_of_their_own() -> None:
    given = [
        part("income", [2], "FP64", data=[1.5, None]),
        part("age", [2, 1], "INT64", data=[[31], [40]]),
        part("city", [2], "BYTES", data=["Bern", None]),
        part("children", [2], "FP64", data=[None, 2]),
    ]
    read = arrays(TABLE, body(*given))
    assert read["features.int64"] == [[31], [40]]
    assert read["features.string"] == [[b"Bern"], [None]]
    assert [[str(value) for value in row] for row in read["features.float64"]] == [["nan", "1.5"], ["2.0", "nan"]]
    # Integers that may be missing, as integers; and by tensors, as Triton's own clients send them.
    whole = [*given[:3], part("children", [2], "INT64", data=[3, 2])]
    assert [row[0] for row in arrays(TABLE, body(*whole))["features.float64"]] == [3, 2]
    tensors = [
        (part("features.int64", [2, 1], "INT64"), np.array([31, 40]).tobytes()),
        (part("features.string", [2, 1], "BYTES"), texts(b"Bern", b"\xff")),
        (part("features.float64", [2, 2], "FP64"), np.array([[np.nan, 1.5], [2, np.nan]]).tobytes()),
    ]
    assert repr(arrays(TABLE, *raw(*tensors))) == repr(read)


def test_what_a_request_asks_for() -> None:
    entry = make_entry(outputs=[("y", "float32", (2,)), ("z", "int64", (1,))])

    def asked(**more: Any) -> V2Asked:
        return V2Reader(entry).read(body(x(), **more), None)[1]

    assert asked() == V2Asked()
    assert asked(id="a", outputs=[]) == V2Asked("a")
    assert asked(parameters={"binary_data_output": True}) == V2Asked(None, True)
    outputs: list[dict[str, Any]] = [{"name": "z"}, {"name": "y", "parameters": {"binary_data": True}}]
    assert asked(outputs=outputs) == V2Asked(None, False, [(1, False), (0, True)])
    outputs[1]["parameters"]["binary_data"] = False
    assert asked(outputs=outputs, parameters={"binary_data_output": True}).outputs == [(1, True), (0, False)]


WRONG: dict[str, tuple[bytes, str]] = {
    "datatype": (body(x(datatype="FP64")), 'input "x" has datatype FP64, and the model takes FP32: convert'),
    "shape": (body(x([1, 2, 3], shape=[1, 3])), 'input "x" has shape [1, 3], and the model takes [-1, 4]'),
    "no rows axis": (body(x(shape=[4])), 'input "x" has shape [4], and the model takes [-1, 4]'),
    "negative": (body(x(shape=[-1, 4])), 'input "x" has shape [-1, 4]'),
    "no rows": (body(x([], shape=[0, 4])), 'input "x" has no values'),
    "count": (body(x([1, 2, 3])), 'input "x" has 3 values, and its shape [1, 4] takes 4.'),
    "nesting": (body(x([[1, 2], [3, 4]])), 'input "x": its data is not nested as its shape [1, 4] says.'),
    "string": (body(x([1, "2", 3, 4])), 'input "x"[1]: expected a number, got a string.'),
    "boolean": (body(x([[1, 2, True, 4]])), 'input "x"[0][2]: expected a number, got a boolean.'),
    "null": (body(x([1, None, 3, 4])), "`nullable: true`"),
    "ragged": (body(x([1, [2], 3, 4])), 'input "x"[1]: expected a number, got a list'),
    "too large": (body(x([1, 2, 3, 1e300])), 'input "x"[0][3]: the number does not fit float32'),
    "no input": (body(), 'input "x" is missing: send it with datatype FP32 and shape [-1, 4].'),
    "unknown": (body(part("z", data=[1])), 'The model has no input "z": it takes x.'),
    "twice": (body(x(), x()), 'input "x" stands in the request twice.'),
    "no data": (body(part()), 'input "x" has no data.'),
    "no shape": (b'{"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}', "inputs[0]: the field shape"),
    "no inputs": (b"{}", "the body: the field inputs is missing."),
    "a list": (b"[]", "the body: expected an object, got a list."),
    "output": (body(x(), outputs=[{"name": "q"}]), 'The model has no output "q": it has y.'),
    "output twice": (body(x(), outputs=[{"name": "y"}] * 2), 'output "y" is asked for twice.'),
    "classes": (body(x(), outputs=[{"name": "y", "parameters": {"classification": 2}}]), "classification is not"),
    "sequence": (body(x(), parameters={"sequence_id": 3}), "sequences are not served here"),
    "flag": (body(x(), parameters={"binary_data_output": "yes"}), "binary_data_output must be true or false"),
    "shared": (body(part(parameters={"shared_memory_region": "r"})), "shared memory is not served here"),
    "no raw": (body(part(parameters={"binary_data_size": 16})), "0 bytes are left behind the JSON"),
    "raw and data": (body(x(parameters={"binary_data_size": 16})), "has data and binary_data_size"),
    "raw size": (body(part(parameters={"binary_data_size": True})), "must be a whole number of bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tensors_are_named_with_the_remedy(name: str) -> None:
    content, said = WRONG[name]
    told = error(M, content)
    assert type(told) is BadTensor
    assert said in told.detail and len(told.detail) < 1000


RAW_WRONG = {
    "short": (raw((part(), bytes(12))), 'input "x" has 12 bytes of values, and its shape [1, 4] of FP32 takes 16.'),
    "NaN": (raw((part(), np.full(4, np.nan, np.float32).tobytes())), "NaN or Infinity"),
    "left over": ((raw((part(), bytes(16)))[0] + b"more", raw((part(), bytes(16)))[1]), "4 bytes at the end"),
    "head too long": ((b"{}", 3), "Inference-Header-Content-Length is 3, and the body has 2 bytes."),
    "head of nothing": ((b"{}", 0), "Inference-Header-Content-Length is 0"),
}


@pytest.mark.parametrize("name", RAW_WRONG)
def test_wrong_raw_tensors_are_named(name: str) -> None:
    content, said = RAW_WRONG[name]
    told = error(M, *content)
    assert type(told) is BadTensor
    assert said in told.detail


def test_raw_texts_and_booleans_are_looked_at() -> None:
    text = make_entry(inputs=[("x", "string", ())])
    for data, said in ((texts(b"\xff"), "is not UTF-8"), (b"\x05\0\0\0ab", "cut short"), (b"\x05\0", "cut short")):
        assert said in error(text, *raw((part(shape=[1], datatype="BYTES"), data))).detail
    flags = make_entry(inputs=[("x", "bool", (2,))])
    assert "neither 0 nor 1" in error(flags, *raw((part(shape=[1, 2], datatype="BOOL"), b"\x01\x02"))).detail


def test_inputs_of_different_numbers_of_rows() -> None:
    entry = make_entry(inputs=[("a", "int64", (1,)), ("b", "float32", (1,))])
    told = error(entry, body(part("a", [2], "INT64", data=[1, 2]), part("b", [1], "FP32", data=[1])))
    assert told.detail == 'Every input needs the same number of rows: input "a" has 2, input "b" has 1.'


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b'{"inputs": [NaN]}', body(x()).replace(b"4.5", b"1e999"), body(x()).replace(b"4.5", b"NaN"),
        body(x()).replace(b'"shape"', b'"shape": [1, 4], "shape"'), b'{"inputs": [], "inputs": []}',
        b'{"inputs":' + b"[" * 100_000, body(x(), id="a").replace(b'"a"', b'"\xff"'),
        body(x(), more={"a": 1}).replace(b'{"a": 1}', b'{"a": 1, "a": 2}'),
    ],
)  # fmt: skip
def test_what_is_not_json_is_malformed(content: bytes) -> None:
    assert type(error(M, content)) is MalformedJson


def test_unknown_keys_and_parameters_are_passed_over() -> None:
    content = body(x(more=1), id="a:b", parameters={"priority": 1, "mine": {"a": "b:c"}}, trace={"on": True})
    assert arrays(M, content) == {"x": [[1, 2, 3, 4.5]]}


def test_a_models_readers_are_made_once() -> None:
    codec = Codec(M)
    assert v2_codec(codec) is v2_codec(codec)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_head_that_comes_again_has_values_of_its_own(dtype: str, rows: int) -> None:
    reader, asked = V2Reader(make_entry(inputs=[("x", dtype, (2,))])), []
    for last in (1, 0):
        array = np.array([[0, last]] * rows, dtype)
        content, head = raw((part(shape=[rows, 2], datatype=DTYPES[dtype]), array.tobytes()), id="a")
        (read,), said = reader.read(content, head)
        assert np.asarray(read).tolist() == array.tolist()
        asked.append(said)
    assert asked == [V2Asked("a")] * 2
    with pytest.raises(BadTensor, match="bytes are left"):
        reader.read(content[:-1], head)
    with pytest.raises(BadTensor, match="at the end"):
        reader.read(content + b"a", head)


def test_a_head_that_comes_again_hides_no_wrong_value() -> None:
    for dtype, wrong, said in (("float32", np.nan, "NaN"), ("float64", -np.inf, "NaN"), ("bool", 2, "neither 0 nor 1")):
        reader = V2Reader(make_entry(inputs=[("x", dtype, (2,))]))
        described, kind = part(shape=[1, 2], datatype=DTYPES[dtype]), np.uint8 if dtype == "bool" else dtype
        for _ in range(2):
            reader.read(*raw((described, np.ones(2, kind).tobytes())))
        with pytest.raises(BadTensor, match=said):
            reader.read(*raw((described, np.array([1, wrong], kind).tobytes())))
    # Their sum alone is infinite.
    large = np.full(2, 1.5e308)
    reader = V2Reader(make_entry(inputs=[("x", "float64", (2,))]))
    for _ in range(2):
        (read,), _ = reader.read(*raw((part(shape=[1, 2], datatype="FP64"), large.tobytes())))
        assert np.asarray(read).tolist() == [large.tolist()]
