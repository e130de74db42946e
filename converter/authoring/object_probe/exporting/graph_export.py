"""A fitted estimator → an ONNX graph with the input, the output and the dtypes that the model's config has."""

from __future__ import annotations

from typing import Any

from .. import CannotTell, answer_rows, describing
from ..opening import Opened, open_model
from . import tree_converters

# The newest of which ONNX Runtime 1.20 knows all.
_OPSET, _OPSET_ML, _IR = 20, 5, 10
_ROWS = "schwift_rows"
_OUTPUTS = {"predict": 0, "predict_proba": 1, "decision_function": 1, "transform": 0}
_ORDINARY = {"float16": "FLOAT16", "float32": "FLOAT", "float64": "DOUBLE", "string": "STRING", "bool": "BOOL"}


def export(request: dict[str, Any]) -> dict[str, Any]:
    """Write the graph to `target`, of `precision` float32 or float64; return the number of its inputs."""
    opened = open_model(request)
    method = answer_rows.choose_asked_method(opened, request)
    form = request["form"]
    if form["form"] == "tensors":
        raise CannotTell("a graph is made of rows of numbers or texts, and the config has other shapes")
    separate = form["form"] == "columns" and _reads_columns(opened.model)
    graph = _convert(opened, method, form, request["precision"], separate)
    _set_ends(graph, request, form, opened.model, _find_output(opened, method, graph), separate)
    with open(request["target"], "wb") as file:
        file.write(graph.SerializeToString())
    return {
        "inputs": len(graph.graph.input), "type": type(opened.model).__name__,
        "versions": describing.describe(opened.model)["versions"],
    }  # fmt: skip


def _reads_columns(model: Any) -> bool:
    """Tell whether a model's first step takes columns apart, by name."""
    first = model
    while isinstance(getattr(first, "steps", None), list):
        first = first.steps[0][1]
    return hasattr(first, "transformers_")


def _convert(opened: Opened, method: str, form: dict[str, Any], precision: str, separate: bool) -> Any:
    from skl2onnx import __max_supported_opset__ as newest
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import (
        BooleanTensorType,
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    tree_converters.register(boosters_alone=precision == "float32")
    for step in _walk_all(opened.model):
        if hasattr(step, "flatten_transform") and method != "transform":
            # Of no other method, and skl2onnx takes False alone.
            step.flatten_transform = False
    number = FloatTensorType if precision == "float32" else DoubleTensorType

    def kind_of(dtype: str, whole: bool) -> Any:
        if dtype == "string":
            return StringTensorType
        if dtype == "bool" and whole:
            return BooleanTensorType
        return Int64TensorType if whole and dtype.startswith(("int", "uint")) else number

    if separate:
        inputs = [(item["name"], kind_of(item["wire"], True)([None, 1])) for item in form["columns"]]
    elif form["form"] == "columns":
        if any(item["dtype"] in ("string", "bool") for item in form["columns"]):
            raise CannotTell("columns of texts or booleans have a graph only behind a ColumnTransformer")
        inputs = [(_ROWS, number([None, len(form["columns"])]))]
    elif form["form"] == "text":
        inputs = [(_ROWS, StringTensorType([None, 1]))]
    else:
        inputs = [(_ROWS, kind_of(form["wire"], False)([None, form["width"]]))]
    opsets = {"": min(_OPSET, newest), "ai.onnx.ml": 3}
    options = _choose_options(opened.model, method)
    try:
        graph = convert_sklearn(opened.model, initial_types=inputs, options=options, target_opset=opsets)
    except (ImportError, MemoryError, CannotTell):
        raise
    except Exception as error:
        library = type(opened.model).__module__.split(".")[0]
        hint = ": write --to native" if library in ("catboost", "lightgbm", "xgboost") else ""
        raise CannotTell(f"skl2onnx does not convert it: {_first_line(error)}{hint}") from error
    if any(node.op_type == "TreeEnsemble" for node in graph.graph.node):
        for entry in graph.opset_import:
            entry.version = _OPSET_ML if entry.domain == "ai.onnx.ml" else entry.version
    graph.ir_version = min(graph.ir_version, _IR)
    return graph


def _choose_options(model: Any, method: str) -> dict[int, dict[str, Any]]:
    """Ask for plain tensors, raw scores, and the locale that is everywhere."""
    options: dict[int, dict[str, Any]] = {}
    for step in _walk_all(model):
        if callable(getattr(step, "build_analyzer", None)) and not hasattr(step, "n_features"):
            options[id(step)] = {"locale": "C"}
    if hasattr(model, "classes_"):
        last = model
        while isinstance(getattr(last, "steps", None), list):
            last = last.steps[-1][1]
        options[id(last)] = {"zipmap": False, **({"raw_scores": True} if method == "decision_function" else {})}
    return options


def _walk_all(part: Any) -> list[Any]:
    """List an object and the steps in it, at any depth."""
    if part is None or isinstance(part, str):
        return []
    inner = [step[1] for step in getattr(part, "steps", None) or [] if isinstance(step, tuple)]
    inner += [step[1] for step in getattr(part, "transformers_", None) or []]
    inner += [step[1] for step in getattr(part, "transformer_list", None) or []]
    return [part, *(found for step in inner for found in _walk_all(step))]


def _find_output(opened: Opened, method: str, graph: Any) -> Any:
    """Find which of the graph's outputs is what the method answers."""
    outputs = list(graph.graph.output)
    place = _OUTPUTS[method]
    if method == "transform" and len(outputs) > 1 and callable(getattr(opened.model, "predict", None)):
        place = 1
    if place >= len(outputs):
        raise CannotTell(f"its graph has no output for {method}")
    return outputs[place]


def _set_ends(
    graph: Any, request: dict[str, Any], form: dict[str, Any], model: Any, output: Any, separate: bool
) -> None:
    """Give the graph the config's names and dtypes: casts in front and behind, and no other output."""
    from onnx import TensorProto, helper

    before: list[Any] = []
    inputs: list[Any] = []
    given = form["columns"] if form["form"] == "columns" else [form]
    names = [f"column_{place}" for place in range(len(given))] if separate else [request["input"]]
    for place, (name, old) in enumerate(zip(names, graph.graph.input, strict=True)):
        wire = "string" if form["form"] == "text" else given[place]["wire"] if separate else _common_dtype(given)
        width = 1 if separate or form["form"] == "text" else len(given) if "columns" in form else form["width"]
        inputs.append(helper.make_tensor_value_info(name, _onnx_type(wire), [None, width]))
        if not separate and (order := _find_order(model, given)) is not None:
            indices = helper.make_tensor("schwift_order", TensorProto.INT64, [len(order)], order)
            graph.graph.initializer.append(indices)
            before.append(helper.make_node("Gather", [name, "schwift_order"], ["schwift_ordered"], axis=1))
            name = "schwift_ordered"
        before.append(_make_cast(name, _onnx_type(wire), old.name, old.type.tensor_type.elem_type))
    wanted = _onnx_type(request["output"]["dtype"])
    shape = [None if item.HasField("dim_param") or not item.dim_value else item.dim_value
             for item in output.type.tensor_type.shape.dim] or [None]  # fmt: skip
    value = helper.make_tensor_value_info(request["output"]["name"], wanted, [None, *shape[1:]])
    taken = {item for node in graph.graph.node for item in (*node.input, *node.output)}
    if taken & {*names, request["output"]["name"]}:
        raise CannotTell("a tensor of its graph has the name that clients use")
    nodes = [*before, *graph.graph.node,
             _make_cast(output.name, output.type.tensor_type.elem_type, request["output"]["name"], wanted)]  # fmt: skip
    for field, items in (("node", nodes), ("input", inputs), ("output", [value])):
        graph.graph.ClearField(field)
        getattr(graph.graph, field).extend(items)


def _common_dtype(given: list[dict[str, Any]]) -> str:
    """Return the dtype in which all columns reach the graph, or the only one."""
    found = {item["wire"] for item in given}
    return found.pop() if len(found) == 1 else "float64"


def _find_order(model: Any, given: list[dict[str, Any]]) -> list[int] | None:
    """Return where the columns of the fit are among the config's, if they are in another order."""
    names = [item.get("name") for item in given]
    fitted = [str(name) for name in getattr(model, "feature_names_in_", ())]
    return None if fitted == names or sorted(fitted) != sorted(map(str, names)) else [names.index(x) for x in fitted]


def _make_cast(old: str, old_type: int, new: str, new_type: int) -> Any:
    from onnx import TensorProto, helper

    if old_type == new_type:
        return helper.make_node("Identity", [old], [new])
    if TensorProto.STRING in (old_type, new_type):
        raise CannotTell("the graph's labels have another type than the config's: write what the model answers")
    return helper.make_node("Cast", [old], [new], to=new_type)


def _onnx_type(dtype: str) -> int:
    from onnx import TensorProto

    return int(getattr(TensorProto, _ORDINARY.get(dtype, dtype.upper())))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
