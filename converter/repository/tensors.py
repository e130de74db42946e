"""spec + facts → the tensors of the Triton models; those that an ONNX graph names are matched with the config's."""

from __future__ import annotations

from dataclasses import dataclass

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import GraphTensor, ModelFacts
from converter.schema import dtypes
from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.manifest import Tensor
from converter.schema.model import ModelSpec, TensorSpec, nearest

INPUT_NAME = "features"
OUTPUT_NAME = "predictions"


@dataclass(frozen=True)
class TensorPlan:
    """A tensor as clients see it; `scalar` if the model has shape [N] and clients see [N, 1].

    `ragged` if Triton is to join requests although their sizes differ; `nullable` if its strings may be missing;
    `optional` if a request may leave it out.
    """

    tensor: Tensor
    scalar: bool = False
    ragged: bool = False
    nullable: bool = False
    optional: bool = False

    def pack(self) -> tuple[TensorPlan, ...]:
        """Plan the tensors that cross in its place where strings are packed."""
        if self.tensor.dtype != "string":
            return (self,)
        packed, lengths = self.tensor.pack()
        return TensorPlan(packed, ragged=True), TensorPlan(lengths, scalar=self.scalar)


@dataclass(frozen=True)
class Tensors:
    """The inputs and outputs of a model's two Triton models."""

    inputs: tuple[TensorPlan, ...]
    outputs: tuple[TensorPlan, ...]

    @property
    def has_strings(self) -> bool:
        """Whether any of them is of strings."""
        return any(plan.tensor.dtype == "string" for plan in (*self.inputs, *self.outputs))

    def pack(self) -> Tensors:
        """Plan the tensors of a model that takes and gives packed strings."""
        return Tensors(
            tuple(packed for plan in self.inputs for packed in plan.pack()),
            tuple(packed for plan in self.outputs for packed in plan.pack()),
        )


def resolve(source: ModelSource, facts: ModelFacts) -> Tensors:
    """Find a model's tensors. Raises ArtifactError with the config's key and the remedy."""
    tensors = _find(source, facts)
    plans = (*tensors.inputs, *tensors.outputs)
    names = {plan.tensor.name for plan in plans}
    for plan in plans:
        taken = [item.tensor.name for item in plan.pack() if item.tensor.name in names - {plan.tensor.name}]
        if taken:
            raise ArtifactError(
                f"{source.config}: model: the strings of tensor {plan.tensor.name} cross to the model as {taken[0]}, "
                "which is the name of another tensor: rename one of the two"
            )
    return tensors


def _find(source: ModelSource, facts: ModelFacts) -> Tensors:
    spec = source.spec
    if spec.backend != "onnx":
        return Tensors(
            _group_columns(spec) if spec.columns else tuple(_make_plain(tensor, INPUT_NAME) for tensor in spec.input),
            tuple(_make_plain(tensor, OUTPUT_NAME) for tensor in spec.output),
        )
    for item in facts.inputs:
        _check_free(source, "input", item)
    if len(facts.inputs) != len(spec.input):
        listed = ", ".join(_describe(item) for item in facts.inputs)
        raise ArtifactError(
            f"{source.config}: model.input: the graph has {len(facts.inputs)} inputs ({listed}), "
            f"and {len(spec.input)} are written here: name each"
        )
    problems: list[str] = []
    inputs = _match_all(source, "input", facts.inputs, problems)
    outputs = _match_all(source, "output", facts.outputs, problems)
    if problems:
        raise ArtifactError(problems)
    return Tensors(inputs, outputs)


def _match_all(
    source: ModelSource, key: str, graph: tuple[GraphTensor, ...], problems: list[str]
) -> tuple[TensorPlan, ...]:
    """Match the tensors of a spec; what is wrong with any of them goes to `problems`, so that one build tells all."""
    found = []
    for wanted in source.spec.input if key == "input" else source.spec.output:
        try:
            found.append(_match(source, key, wanted, graph))
        except ArtifactError as error:
            problems += error.problems
    return tuple(found)


def _make_plain(tensor: TensorSpec, default: str) -> TensorPlan:
    plain = Tensor(name=tensor.name or default, dtype=tensor.wire_dtype, dims=tensor.row_dims)
    nullable = tensor.nullable and tensor.dtype == "string"
    return TensorPlan(plain, scalar=default == INPUT_NAME and tensor.is_text, nullable=nullable)


def _group_columns(spec: ModelSpec) -> tuple[TensorPlan, ...]:
    """Plan one tensor for each dtype of the columns: `features.float64` has all of this dtype, in order."""
    name = (spec.input[0].name if len(spec.input) == 1 else None) or INPUT_NAME
    groups: dict[str, list[ColumnSpec]] = {}
    for column in spec.columns:
        groups.setdefault(column.wire_dtype, []).append(column)
    return tuple(
        TensorPlan(
            Tensor(name=f"{name}.{dtype}", dtype=dtype, dims=(len(columns),)),
            nullable=dtype == "string" and any(column.nullable for column in columns),
        )
        for dtype, columns in groups.items()
    )


def _check_free(source: ModelSource, key: str, item: GraphTensor) -> None:
    if not item.shape or item.shape[0] is not None:
        raise ArtifactError(
            f"{source.config}: {source.spec.model_args.model_file}: the batch dimension of {key} {item.name} is "
            f"fixed (shape {_format_shape(item)}), so requests cannot be batched: export the model with a dynamic "
            "first axis (torch.onnx.export: dynamic_axes={...: {0: 'batch'}}; skl2onnx: "
            "FloatTensorType([None, ...]))"
        )


def _match(source: ModelSource, key: str, wanted: TensorSpec, graph: tuple[GraphTensor, ...]) -> TensorPlan:
    """Find the graph's tensor that a spec means: by name; else the only one, or the only one that fits."""
    if wanted.name is not None:
        found = [item for item in graph if item.name == wanted.name]
        if not found:
            names = [item.name for item in graph]
            raise ArtifactError(
                f"{source.config}: model.{key}: the graph has no {key} {wanted.name}"
                f"{nearest(wanted.name, names)}: it has {', '.join(_describe(item) for item in graph)}"
            )
        chosen = found[0]
    elif len(graph) == 1:
        chosen = graph[0]
    else:
        fitting = [item for item in graph if _explain_misfit(wanted, item) is None]
        if len(fitting) != 1:
            zipped = any(item.type.startswith(("seq", "map")) for item in graph)
            raise ArtifactError(
                f"{source.config}: model.{key}: {len(fitting) or 'none'} of the graph's {key}s fit shape "
                f"{list(wanted.shape)} and dtype {wanted.dtype}: add the name of one of "
                f"{', '.join(_describe(item) for item in graph)}"
                + (": for probabilities as a tensor convert with options={'zipmap': False}" if zipped else "")
            )
        chosen = fitting[0]
    misfit = _explain_misfit(wanted, chosen)
    if misfit is not None:
        raise ArtifactError(f"{source.config}: model.{key}: the graph's {_describe(chosen)}: {misfit}")
    _check_free(source, key, chosen)
    # A size that only one of the two knows is the size: Triton's C++ backend wants the graph's.
    sizes = chosen.shape[1:] or wanted.row_dims
    dims = tuple(
        here if there is None or here != -1 else there for there, here in zip(sizes, wanted.row_dims, strict=True)
    )
    tensor = Tensor(name=chosen.name, dtype=wanted.dtype, dims=dims)
    return TensorPlan(tensor, scalar=len(chosen.shape) == 1)


def _explain_misfit(wanted: TensorSpec, item: GraphTensor) -> str | None:
    """Say why a spec and a graph's tensor do not go together, with the remedy; None if they do."""
    dtype = dtypes.by_onnx(item.type)
    if dtype is None:
        if item.type.startswith(("seq", "map")):
            return (
                f"Triton serves tensors, not {item.type}: convert with options={{'zipmap': False}}, "
                "or name another output"
            )
        return f"Triton here does not serve {item.type}"
    if dtype.name != wanted.dtype:
        return f"write dtype: {dtype.name} in place of {wanted.dtype}"
    row = item.shape[1:] or ((1,) if item.shape else wanted.row_dims)
    if len(row) != len(wanted.row_dims) or any(
        there is not None and -1 not in (there, here) and there != here
        for there, here in zip(row, wanted.row_dims, strict=True)
    ):
        return f"write shape: {[-1, *(-1 if size is None else size for size in row)]}"
    return None


def _format_shape(item: GraphTensor) -> str:
    return "[" + ", ".join("?" if axis is None else str(axis) for axis in item.shape) + "]"


def _describe(item: GraphTensor) -> str:
    return f"{item.name} {item.type} {_format_shape(item)}"
