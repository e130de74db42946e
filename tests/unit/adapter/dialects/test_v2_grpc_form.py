"""V2 messages over gRPC → rows of a model's tensors, and answers → messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from adapter.codec.codec import Codec
from adapter.dialects.v2_grpc_form import V2GrpcForm, V2GrpcRequest, make_grpc_form
from adapter.errors import AdapterError, BadTensor, BodyTooLarge, UnknownModel
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_entry

M = make_entry("m")
TYPED = {
    "float32": ("FP32", "fp32_contents"), "float64": ("FP64", "fp64_contents"), "int8": ("INT8", "int_contents"),
    "int32": ("INT32", "int_contents"), "int64": ("INT64", "int64_contents"), "uint16": ("UINT16", "uint_contents"),
    "uint64": ("UINT64", "uint64_contents"), "bool": ("BOOL", "bool_contents"),
}  # fmt: skip


def message(*values: Any, datatype: str = "FP32", field: str = "fp32_contents", shape: tuple[int, ...] = ()) -> Any:
    made = service_pb2.ModelInferRequest(model_name="m", id="a")
    given = made.inputs.add(name="x", datatype=datatype, shape=shape or (1, len(values)))
    getattr(given.contents, field).extend(values)
    return made


def arrays(entry: ModelEntry, given: Any) -> Any:
    codec = Codec(entry)
    read = codec.request.to_arrays([V2GrpcForm(given).parse(b"", codec)])
    return {name: array.tolist() for name, array in read.items()}


def error(entry: ModelEntry, given: Any) -> AdapterError:
    codec, form = Codec(entry), V2GrpcForm(given)
    with pytest.raises(AdapterError) as raised:
        codec.request.to_arrays([form.parse(b"", codec)])
    told = form.translate(raised.value, codec)
    assert isinstance(told, AdapterError)
    return told


@pytest.mark.parametrize("dtype", TYPED)
def test_typed_and_raw_values_are_the_same(dtype: str) -> None:
    datatype, field = TYPED[dtype]
    entry, array = make_entry(inputs=[("x", dtype, (2,))]), np.array([[0, 1], [1, 0]], dtype)
    typed = message(*array.ravel().tolist(), datatype=datatype, field=field, shape=(2, 2))
    assert arrays(entry, typed) == {"x": array.tolist()}
    typed.inputs[0].ClearField("contents")
    typed.raw_input_contents.append(array.tobytes())
    assert arrays(entry, typed) == {"x": array.tolist()}


def test_texts_are_bytes_and_0xff_is_missing() -> None:
    given = message("größe".encode(), b"\xff", datatype="BYTES", field="bytes_contents", shape=(2,))
    assert arrays(make_entry(inputs=[("x", "string", ())], nullable=["x"]), given) == {
        "x": [["größe".encode()], [None]]
    }
    assert "value 1 is not UTF-8" in error(make_entry(inputs=[("x", "string", ())]), given).detail


def test_wrong_messages_are_named() -> None:
    assert "has NaN or Infinity" in error(M, message(1, 2, 3, float("nan"))).detail
    assert "has 3 values, and its shape [1, 4] takes 4." in error(M, message(1, 2, 3, shape=(1, 4))).detail
    assert "has datatype FP64" in error(M, message(1, 2, 3, 4, datatype="FP64", field="fp64_contents")).detail
    small = message(300, 1, datatype="UINT8", field="uint_contents")
    assert error(make_entry(inputs=[("x", "uint8", (2,))]), small).detail.startswith('input "x"[0][0]: the number does')
    two = message(1, 2, 3, 4)
    two.raw_input_contents.append(bytes(16))
    assert "has contents beside raw_input_contents" in error(M, two).detail
    two.raw_input_contents.append(bytes(16))
    assert "has 2 values for 1 inputs" in error(M, two).detail
    shared = message(1, 2, 3, 4)
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    assert "shared memory is not served" in error(M, shared).detail
    sequence = message(1, 2, 3, 4)
    sequence.parameters["sequence_id"].int64_param = 7
    assert type(error(M, sequence)) is BadTensor
    other = message(1, 2, 3, 4)
    other.model_version = "2"
    assert type(error(M, other)) is UnknownModel


def test_large_messages_have_raw_numbers_alone() -> None:
    wide = make_entry(inputs=[("x", "float32", (100_000,))])
    assert type(error(wide, message(*[1.0] * 100_000))) is BodyTooLarge
    raw = service_pb2.ModelInferRequest(model_name="m")
    raw.inputs.add(name="x", datatype="FP32", shape=[1, 100_000])
    raw.raw_input_contents.append(np.ones(100_000, np.float32).tobytes())
    assert arrays(wide, raw) == {"x": [[1.0] * 100_000]}


def test_the_answer_is_a_message_with_raw_values() -> None:
    entry = make_entry(outputs=[("y", "float32", (2,)), ("word", "string", ())])
    codec, given = Codec(entry), message(1, 2, 3, 4)
    given.outputs.add(name="word")
    form = make_grpc_form(V2GrpcRequest(given, [(b"x-request-id", b"mine")], "127.0.0.1"))
    form.parse(b"", codec)
    parts: Any = [(np.ones((1, 2), np.float32), np.array([[b"ab"]], object))]
    answer = service_pb2.ModelInferResponse.FromString(form.write(parts, codec))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "a")
    assert [(item.name, item.datatype, list(item.shape)) for item in answer.outputs] == [("word", "BYTES", [1, 1])]
    assert list(answer.raw_output_contents) == [b"\x02\0\0\0ab"]
