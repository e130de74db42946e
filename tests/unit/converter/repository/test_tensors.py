"""spec + facts → the tensors of the Triton models, and what is said where they do not match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import GraphTensor, ModelFacts
from converter.repository.tensors import TensorPlan, Tensors, resolve
from converter.schema.manifest import Tensor
from tests.support.models.sample_models import model_spec

FEATURES = GraphTensor("features", "tensor(float)", (None, 4))
LABEL = GraphTensor("label", "tensor(int64)", (None,))
PROBABILITIES = GraphTensor("probabilities", "tensor(float)", (None, 3))
ZIPMAP = GraphTensor("output_probability", "seq(map(int64,tensor(float)))", ())


def source(backend: str = "onnx", **keys: Any) -> ModelSource:
    return ModelSource(model_spec(backend, **keys), "models/m/model_config.yaml", Path("models/m"), ())


def resolved(facts: ModelFacts, **keys: Any) -> Tensors:
    return resolve(source(**keys), facts)


def problem_of(facts: ModelFacts, **keys: Any) -> str:
    with pytest.raises(ArtifactError) as caught:
        resolve(source(**keys), facts)
    (problem,) = caught.value.problems
    return problem


def facts(*outputs: GraphTensor, inputs: tuple[GraphTensor, ...] = (FEATURES,)) -> ModelFacts:
    return ModelFacts(inputs, outputs)


def tensor(shape: list[int], dtype: str, name: str | None = None) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, **({"name": name} if name else {})}


@pytest.mark.parametrize("backend", ["joblib", "python", "torch"])
def test_without_a_graph_the_names_are_features_and_predictions(backend: str) -> None:
    found = resolve(source(backend, output=tensor([-1], "int64")), ModelFacts())
    assert found.inputs == (TensorPlan(Tensor(name="features", dtype="float32", dims=(4,))),)
    assert found.outputs == (TensorPlan(Tensor(name="predictions", dtype="int64", dims=(1,))),)


def test_without_a_graph_names_that_are_written_are_kept() -> None:
    found = resolve(
        source("python", input=[tensor([-1, 2, -1], "string", "words"), tensor([-1], "bool", "b")]), ModelFacts()
    )
    assert [plan.tensor for plan in found.inputs] == [
        Tensor(name="words", dtype="string", dims=(2, -1)),
        Tensor(name="b", dtype="bool", dims=(1,)),
    ]


@pytest.mark.parametrize(("shape", "scalar"), [([-1], True), ([-1, 1], False)])
def test_texts_are_one_dimensional_for_the_model(shape: list[int], scalar: bool) -> None:
    found = resolve(source("joblib", input=tensor(shape, "string"), output=tensor([-1], "string")), ModelFacts())
    assert found.inputs == (TensorPlan(Tensor(name="features", dtype="string", dims=(1,)), scalar=scalar),)
    assert found.pack().inputs == (
        TensorPlan(Tensor(name="features.bytes", dtype="uint8", dims=(-1,)), ragged=True),
        TensorPlan(Tensor(name="features.lengths", dtype="int32", dims=(1,)), scalar=scalar),
    )
    assert not found.outputs[0].scalar


def test_integers_that_may_be_missing_cross_as_floats() -> None:
    inputs = [{**tensor([-1, 2], dtype, dtype), "nullable": True} for dtype in ("int64", "float32", "string")]
    found = resolve(source("joblib", input=inputs), ModelFacts())
    assert [(plan.tensor.name, plan.tensor.dtype, plan.nullable) for plan in found.inputs] == [
        ("int64", "float64", False), ("float32", "float32", False), ("string", "string", True),
    ]  # fmt: skip


COLUMNS: list[dict[str, Any]] = [
    {"name": "a", "dtype": "float64"}, {"name": "b", "dtype": "string", "nullable": True},
    {"name": "c", "dtype": "int8", "nullable": True}, {"name": "d", "dtype": "string"},
]  # fmt: skip


@pytest.mark.parametrize("name", [None, "rows"])
def test_columns_cross_as_one_tensor_a_dtype(name: str | None) -> None:
    found = resolve(source("joblib", input={"columns": COLUMNS, **({"name": name} if name else {})}), ModelFacts())
    prefix = name or "features"
    assert found.inputs == (
        TensorPlan(Tensor(name=f"{prefix}.float64", dtype="float64", dims=(2,))),
        TensorPlan(Tensor(name=f"{prefix}.string", dtype="string", dims=(2,)), nullable=True),
    )


def test_several_inputs_of_one_value_cross_as_one_tensor_a_dtype() -> None:
    found = resolve(source("joblib", input=[{**column, "shape": [-1, 1]} for column in COLUMNS]), ModelFacts())
    assert [plan.tensor.name for plan in found.inputs] == ["features.float64", "features.string"]


def test_graphs_own_names_are_used() -> None:
    found = resolved(facts(PROBABILITIES))
    assert found.inputs == (TensorPlan(Tensor(name="features", dtype="float32", dims=(4,)), scalar=False),)
    assert found.outputs == (TensorPlan(Tensor(name="probabilities", dtype="float32", dims=(3,)), scalar=False),)


@pytest.mark.parametrize("shape", [[-1, 1], [-1]])
def test_label_of_rank_one_is_one_value_a_row_for_clients(shape: list[int]) -> None:
    found = resolved(facts(LABEL, PROBABILITIES), output=tensor(shape, "int64"))
    assert found.outputs == (TensorPlan(Tensor(name="label", dtype="int64", dims=(1,)), scalar=True),)


def test_the_only_output_that_fits_is_taken() -> None:
    found = resolved(facts(LABEL, PROBABILITIES))
    assert [plan.tensor.name for plan in found.outputs] == ["probabilities"]


def test_named_output_is_taken_where_several_fit() -> None:
    other = GraphTensor("other", "tensor(float)", (None, 3))
    found = resolved(facts(other, PROBABILITIES), output=tensor([-1, 3], "float32", "probabilities"))
    assert [plan.tensor.name for plan in found.outputs] == ["probabilities"]


def test_several_outputs_may_be_named_at_once() -> None:
    outputs = [tensor([-1, 3], "float32", "probabilities"), tensor([-1], "int64", "label")]
    found = resolved(facts(LABEL, PROBABILITIES), output=outputs)
    assert [(plan.tensor.name, plan.scalar) for plan in found.outputs] == [("probabilities", False), ("label", True)]


def test_free_axis_of_the_graph_takes_the_size_that_is_written() -> None:
    wide = GraphTensor("features", "tensor(float)", (None, None))
    found = resolved(facts(PROBABILITIES, inputs=(wide,)))
    assert found.inputs[0].tensor.dims == (4,)


def test_axis_that_is_free_in_the_config_alone_takes_the_graphs_size() -> None:
    # Triton's C++ backend loads no model whose config leaves open an axis that the graph fixes.
    found = resolved(facts(PROBABILITIES), input=tensor([-1, -1], "float32"))
    assert found.inputs[0].tensor.dims == (4,)


@pytest.mark.parametrize(("shape", "shown"), [((1, 4), "[1, 4]"), ((8, None), "[8, ?]"), ((), "[]")])
def test_fixed_batch_dimension_is_refused_with_the_remedy(shape: tuple[int | None, ...], shown: str) -> None:
    fixed = GraphTensor("features", "tensor(float)", shape)
    assert problem_of(facts(PROBABILITIES, inputs=(fixed,))) == (
        f"models/m/model_config.yaml: m.onnx: the batch dimension of input features is fixed (shape {shown}), so "
        "requests cannot be batched: export the model with a dynamic first axis (torch.onnx.export: "
        "dynamic_axes={...: {0: 'batch'}}; skl2onnx: FloatTensorType([None, ...]))"
    )


def test_fixed_batch_dimension_of_an_output_is_refused() -> None:
    # Triton's C++ backend asks of outputs what it asks of inputs.
    fixed = GraphTensor("probabilities", "tensor(float)", (1, 3))
    assert "the batch dimension of output probabilities is fixed (shape [1, 3])" in problem_of(facts(fixed))


def test_wrong_dtype_says_the_line_to_write() -> None:
    assert problem_of(facts(PROBABILITIES), input=tensor([-1, 4], "float64")) == (
        "models/m/model_config.yaml: model.input: the graph's features tensor(float) [?, 4]: write dtype: float32 in "
        "place of float64"
    )


@pytest.mark.parametrize(
    ("item", "written", "line"),
    [
        (PROBABILITIES, [-1, 4], "[-1, 3]"),
        (PROBABILITIES, [-1, 3, 1], "[-1, 3]"),
        (PROBABILITIES, [-1], "[-1, 3]"),
        (GraphTensor("probabilities", "tensor(float)", (None, 2, None)), [-1, 3, 7], "[-1, 2, -1]"),
        (GraphTensor("probabilities", "tensor(float)", (None,)), [-1, 3], "[-1, 1]"),
    ],
)
def test_wrong_shape_says_the_line_to_write(item: GraphTensor, written: list[int], line: str) -> None:
    problem = problem_of(facts(item), output=tensor(written, "float32"))
    assert problem.startswith("models/m/model_config.yaml: model.output: the graph's probabilities tensor(float) [")
    assert problem.endswith(f"]: write shape: {line}")


def test_zipmap_output_says_how_to_convert() -> None:
    assert problem_of(facts(ZIPMAP)) == (
        "models/m/model_config.yaml: model.output: the graph's output_probability seq(map(int64,tensor(float))) []: "
        "Triton serves tensors, not seq(map(int64,tensor(float))): convert with options={'zipmap': False}, or name "
        "another output"
    )


def test_label_beside_a_zipmap_is_served() -> None:
    found = resolved(facts(LABEL, ZIPMAP), output=tensor([-1, 1], "int64"))
    assert [(plan.tensor.name, plan.scalar) for plan in found.outputs] == [("label", True)]


def test_type_that_triton_does_not_serve_is_named() -> None:
    item = GraphTensor("x", "tensor(bfloat16)", (None, 3))
    assert problem_of(facts(item)).endswith("x tensor(bfloat16) [?, 3]: Triton here does not serve tensor(bfloat16)")


def test_no_fitting_output_lists_them_all() -> None:
    assert problem_of(facts(LABEL, PROBABILITIES), output=tensor([-1, 2], "float32")) == (
        "models/m/model_config.yaml: model.output: none of the graph's outputs fit shape [-1, 2] and dtype float32: "
        "add the name of one of label tensor(int64) [?], probabilities tensor(float) [?, 3]"
    )


def test_several_fitting_outputs_ask_for_a_name() -> None:
    other = GraphTensor("other", "tensor(float)", (None, 3))
    assert problem_of(facts(other, PROBABILITIES)) == (
        "models/m/model_config.yaml: model.output: 2 of the graph's outputs fit shape [-1, 3] and dtype float32: "
        "add the name of one of other tensor(float) [?, 3], probabilities tensor(float) [?, 3]"
    )


def test_unknown_name_is_said_with_the_nearest() -> None:
    assert problem_of(facts(PROBABILITIES), output=tensor([-1, 3], "float32", "probabilites")) == (
        "models/m/model_config.yaml: model.output: the graph has no output probabilites (did you mean "
        "probabilities?): it has probabilities tensor(float) [?, 3]"
    )


def test_inputs_that_are_not_written_are_listed() -> None:
    other = GraphTensor("mask", "tensor(bool)", (None, None))
    assert problem_of(facts(PROBABILITIES, inputs=(FEATURES, other))) == (
        "models/m/model_config.yaml: model.input: the graph has 2 inputs (features tensor(float) [?, 4], mask "
        "tensor(bool) [?, ?]), and 1 are written here: name each"
    )


def test_strings_are_packed_into_two_tensors_and_the_rest_stays() -> None:
    word = GraphTensor("word", "tensor(string)", (None,))
    found = resolved(facts(LABEL, inputs=(word,)), input=tensor([-1], "string"), output=tensor([-1], "int64"))
    assert found.has_strings
    packed = found.pack()
    assert packed.inputs == (
        TensorPlan(Tensor(name="word.bytes", dtype="uint8", dims=(-1,)), ragged=True),
        TensorPlan(Tensor(name="word.lengths", dtype="int32", dims=(1,)), scalar=True),
    )
    assert packed.outputs == found.outputs
    assert not resolved(facts(PROBABILITIES)).has_strings


@pytest.mark.parametrize("taken", ["words.bytes", "words.lengths"])
def test_a_name_that_packed_strings_take_is_refused(taken: str) -> None:
    words = tensor([-1], "string", "words")
    with pytest.raises(ArtifactError) as caught:
        resolve(source("python", input=[words, tensor([-1], "int32", taken)]), ModelFacts())
    assert caught.value.problems == (
        f"models/m/model_config.yaml: model: the strings of tensor words cross to the model as {taken}, which is the "
        "name of another tensor: rename one of the two",
    )
    numbers = tensor([-1], "float32", "words")
    assert not resolve(source("python", input=[numbers, tensor([-1], "int32", taken)]), ModelFacts()).has_strings
