"""Where a graph's weights lie, as the graph has it: found wherever a tensor may stand, and never by opening one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper

from converter.errors import ArtifactError
from converter.inspect.external_data import DamagedGraph, find_locations
from converter.inspect.inspector import GraphTensor, ModelFacts, inspect
from tests.support.models.sample_models import add_source, classifier_graph, model_yaml

CONFIG = "models/m/model_config.yaml"


def weights(location: str = "w.bin") -> TensorProto:
    """Four numbers that lie elsewhere."""
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    made.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "16")):
        entry = made.external_data.add()
        entry.key, entry.value = key, value
    return made


def sparse(location: str) -> SparseTensorProto:
    indices = TensorProto(name="i", data_type=TensorProto.INT64, dims=[4], int64_data=range(4))
    return SparseTensorProto(values=weights(location), indices=indices, dims=[9])


def graph_of(*tensors: TensorProto) -> GraphProto:
    """A graph that adds the first weights to its input."""
    return helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        tensors,
    )  # fmt: skip


def model_of(graph: GraphProto) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_attribute(attribute: AttributeProto) -> ModelProto:
    """A graph whose one node has a number and this attribute."""
    model = model_of(graph_of())
    node = model.graph.node[0]
    node.attribute.append(AttributeProto(name="alpha", type=AttributeProto.FLOAT, f=1.5))
    node.attribute.append(attribute)
    return model


def with_function() -> ModelProto:
    model = model_of(graph_of())
    function: FunctionProto = model.functions.add()
    function.name = "f"
    function.node.append(helper.make_node("Constant", [], ["c"]))
    function.node[0].attribute.append(AttributeProto(name="value", type=AttributeProto.TENSOR, t=weights("function")))
    return model


def with_training() -> ModelProto:
    model = model_of(graph_of())
    information = model.training_info.add()
    information.initialization.CopyFrom(graph_of(weights("first")))
    information.algorithm.CopyFrom(graph_of(weights("then")))
    return model


def with_sparse_initializer() -> ModelProto:
    model = model_of(graph_of())
    model.graph.sparse_initializer.append(sparse("few"))
    return model


PLACES: dict[str, tuple[Callable[[], ModelProto], set[str]]] = {
    "initializers": (lambda: model_of(graph_of(weights("a"), weights("é/b.bin"))), {"a", "é/b.bin"}),
    "sparse initializer": (with_sparse_initializer, {"few"}),
    "tensor of a node": (
        lambda: with_attribute(AttributeProto(name="value", type=AttributeProto.TENSOR, t=weights("t"))),
        {"t"},
    ),
    "tensors of a node": (
        lambda: with_attribute(
            AttributeProto(name="v", type=AttributeProto.TENSORS, tensors=[weights("t"), weights("u")])
        ),
        {"t", "u"},
    ),
    "branch of a node": (
        lambda: with_attribute(
            AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=graph_of(weights("then")))
        ),
        {"then"},
    ),
    "graphs of a node": (
        lambda: with_attribute(
            AttributeProto(name="v", type=AttributeProto.GRAPHS, graphs=[graph_of(weights("1")), graph_of()])
        ),
        {"1"},
    ),
    "sparse tensor of a node": (
        lambda: with_attribute(
            AttributeProto(name="v", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse("rare"))
        ),
        {"rare"},
    ),
    "function": (with_function, {"function"}),
    "training": (with_training, {"first", "then"}),
    "nowhere, but a name": (lambda: model_of(graph_of(TensorProto(name="location", dims=[1]))), set()),
    "nowhere": (lambda: model_of(graph_of(TensorProto(name="w", dims=[1]))), set()),
}


def locations_of(tmp_path: Path, content: bytes) -> set[str]:
    (tmp_path / "m.onnx").write_bytes(content)
    return find_locations(tmp_path / "m.onnx")


@pytest.mark.parametrize("place", PLACES)
def test_A22_external_data_is_found_wherever_a_tensor_may_stand(tmp_path: Path, place: str) -> None:
    make, wanted = PLACES[place]
    assert locations_of(tmp_path, make().SerializeToString()) == wanted


def field(number: int, content: bytes) -> bytes:
    """A field with a length, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    more = b""
    while value > 0x7F:
        more += bytes([value & 0x7F | 0x80])
        value >>= 7
    return more + bytes([value])


ENTRY = field(13, field(1, b"location") + field(2, b"w"))
MODEL = field(7, field(5, ENTRY))


def test_what_is_written_by_hand_is_what_the_library_reads() -> None:
    tensor = ModelProto.FromString(MODEL).graph.initializer[0]
    assert [(entry.key, entry.value) for entry in tensor.external_data] == [("location", "w")]


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (varint(200 << 3 | 1) + bytes(8), "eight bytes"),
        (varint(200 << 3 | 5) + bytes(4), "four bytes"),
        (varint(200 << 3) + varint(1 << 63), "a number"),
        (field(200, b"text"), "a text"),
    ],
)
def test_fields_that_nobody_knows_are_passed_over(tmp_path: Path, before: bytes, what: str) -> None:
    assert locations_of(tmp_path, before + MODEL) == {"w"}, what


def test_the_last_of_two_paths_counts_as_it_does_for_the_library(tmp_path: Path) -> None:
    entry = field(1, b"name") + field(2, b"safe") + field(1, b"location") + field(2, b"../secret")
    content = field(7, field(5, field(13, entry)))
    assert locations_of(tmp_path, content) == {"../secret"}
    (said,) = ModelProto.FromString(content).graph.initializer[0].external_data
    assert (said.key, said.value) == ("location", "../secret")


def test_entry_without_a_path_has_an_empty_one(tmp_path: Path) -> None:
    assert locations_of(tmp_path, field(7, field(5, field(13, field(1, b"location"))))) == {""}


def nested(depth: int) -> bytes:
    """Weights below so many branches of nodes, each of which is three messages deep."""
    graph = field(5, ENTRY)
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


def test_A22_depth_is_bounded(tmp_path: Path) -> None:
    assert locations_of(tmp_path, nested(32)) == {"w"}
    with pytest.raises(DamagedGraph, match=r"^nested too deeply$"):
        locations_of(tmp_path, nested(33))
    with pytest.raises(DamagedGraph, match=r"^nested too deeply$"):
        locations_of(tmp_path, nested(5000))


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (varint(200 << 3 | 3), "^a group, which ONNX does not have$"),
        (varint(200 << 3 | 2) + varint(5) + b"four", "^a field is cut short$"),
        (b"\xff" * 11, "^a number is too long$"),
        (b"\x80", "out of"),
        (field(7, field(5, field(13, field(1, b"location") + field(2, b"\xff\xfe")))), "utf-8"),
    ],
)
def test_R31_damage_is_named(tmp_path: Path, after: bytes, why: str) -> None:
    with pytest.raises(DamagedGraph, match=why):
        locations_of(tmp_path, MODEL + after)


def test_R31_graph_that_is_cut_short_anywhere_is_damaged_or_has_a_part_of_its_paths(tmp_path: Path) -> None:
    content = model_of(graph_of(weights("first"), weights("second"))).SerializeToString()
    damaged = 0
    for length in range(1, len(content)):
        try:
            assert locations_of(tmp_path, content[:length]) <= {"first", "second"}, length
        except DamagedGraph:
            damaged += 1
    assert damaged > len(content) // 2


def inspected(tmp_path: Path, location: str, file: str = "m.onnx", *beside: str) -> ModelFacts:
    """The facts of a graph whose weights lie at `location`."""
    files = {file: model_of(graph_of(weights(location))).SerializeToString(), **dict.fromkeys(beside, bytes(16))}
    config = model_yaml("onnx", model_args={"model_file": file})
    source = add_source(tmp_path / "models", "m", config, files)
    return inspect(source, tmp_path)


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../w.bin", "data/../w.bin", "", "w.bin\0", "nobody.bin", "x" * 300, "/"],
)
def test_A22_weights_that_are_no_file_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(ArtifactError) as caught:
        inspected(tmp_path, location, "m.onnx", "w.bin", "data/w.bin")
    assert caught.value.problems == (
        f"{CONFIG}: m.onnx takes weights from {location[:200]!r}, which is no file of the model's folder: save the "
        "model with its data beside it, under a plain name, or without external data",
    )


@pytest.mark.parametrize(
    ("file", "location", "beside"),
    [("m.onnx", "w.bin", "w.bin"), ("m.onnx", "data/w.bin", "data/w.bin"), ("a/m.onnx", "w.bin", "a/w.bin")],
)
def test_A22_weights_beside_the_graph_are_taken(tmp_path: Path, file: str, location: str, beside: str) -> None:
    facts = inspected(tmp_path, location, file, beside)
    assert facts.inputs == (GraphTensor("x", "tensor(float)", (None, 4)),)


def test_R31_graph_whose_paths_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    source = add_source(tmp_path / "models", "m", model_yaml("onnx"), {"m.onnx": MODEL + b"\x80"})
    with pytest.raises(ArtifactError) as caught:
        inspect(source, tmp_path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{CONFIG}: m.onnx is damaged: ")
    assert problem.endswith(": write the model's file again")


def test_graph_without_external_data_names_no_file(tmp_path: Path) -> None:
    assert locations_of(tmp_path, classifier_graph()) == set()
