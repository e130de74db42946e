"""What was learnt of a model's input and answers → the tensors of its config, and the rows of its sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from converter.errors import ArtifactError, ConfigError
from converter.inspect.inspector import GraphTensor
from converter.schema import dtypes
from converter.schema.samples.compare import default_tolerance

# Beyond that a row's answer depends on the others, which is for `schwift check` to say.
_MOST_SPREAD = 1e-4
# Until a table of columns has a name of its own.
_FRAME = "feature_names_in_, in this order"


def find_graph_form(
    inputs: Sequence[GraphTensor], sizes: Mapping[str, list[int]], types: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Find the tensors that a graph takes. Raises ConfigError if an axis has no size, with the option to give it by."""
    tensors = []
    for item in inputs:
        dtype = dtypes.by_onnx(item.type)
        if dtype is None:
            raise ArtifactError(
                f"{where}: input {item.name} is {item.type}, which is not served: export it as a tensor"
            )
        given = sizes.get(item.name, sizes.get("") if len(inputs) == 1 else None)
        shape = given if given is not None else list(item.shape[1:])
        if None in shape:
            example = ",".join("8" if size is None else str(size) for size in shape)
            raise ConfigError(
                f"{where}: input {item.name} has the shape {format_graph_shape(item)}, of which no "
                f"size may be open but that of the rows: write the others, as in --input-shape {item.name}={example}"
            )
        said = f"ONNX input {item.name}: {dtype.name}{format_graph_shape(item)}"
        tensors.append({"name": item.name, "dtype": dtype.name, "shape": shape, "from": said})
    return {"form": "tensors", "tensors": tensors}


def choose_graph_outputs(outputs: Sequence[GraphTensor], where: str) -> list[GraphTensor]:
    """Choose a graph's outputs: the probabilities of a classifier, else all tensors. Raises ArtifactError for none."""
    served = [item for item in outputs if dtypes.by_onnx(item.type) is not None]
    if not served:
        raise ArtifactError(
            f"{where}: its outputs are {', '.join(item.type for item in outputs)}, and tensors are served: convert it "
            "with options={'zipmap': False}"
        )
    if len(served) == 2:
        label, scores = sorted(served, key=lambda item: len(item.shape))
        if len(label.shape) == 1 and len(scores.shape) == 2 and scores.type in ("tensor(float)", "tensor(double)"):
            return [scores]
    return served


def format_graph_shape(item: GraphTensor) -> str:
    """Write a graph's shape: [?,3]."""
    return "[" + ",".join("?" if axis is None else str(axis) for axis in item.shape) + "]"


def describe_inputs(form: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the inputs for the config, each value with its origin."""
    if form["form"] == "text":
        return [{"shape": [], "dtype": "string", "from": f"a text a row: {form['from']}"}]
    if form["form"] == "columns":
        return [{"columns": form["columns"], "from": _FRAME if facts["names"] else ""}]
    if form["form"] == "tensors":
        several = len(form["tensors"]) > 1
        return [
            {
                **item,
                "name": item["name"] if several or item["name"] != "features" else None,
                "from": item.get("from", form.get("from", "")),
            }
            for item in form["tensors"]
        ]
    width = form["width"]
    origin = form.get("from") or (
        f"{facts['width_from']} = {width}" if facts.get("width") == width else "the width of the data"
    )
    return [{"shape": [width], "dtype": form["dtype"], "nullable": form.get("nullable", False), "from": origin}]


def describe_outputs(outputs: Sequence[Mapping[str, Any]], method: str, rows: int) -> list[dict[str, Any]]:
    """Describe the outputs for the config, as the model answered."""
    said = f"what {method} answered to {rows} rows"
    return [
        {"name": item["name"], "shape": item["shape"], "dtype": item["dtype"], "from": item.get("from", said)}
        for item in outputs
    ]


def choose_tolerance(outputs: Sequence[Mapping[str, Any]], spread: float) -> dict[str, float] | None:
    """Choose what answers may differ by, for a model whose own rows differ by more than is usual, but by little."""
    usual = [default_tolerance(item["dtype"]).rtol for item in outputs if item["dtype"].startswith("float")]
    if not usual or not min(usual) / 2 < spread < _MOST_SPREAD:
        return None
    digits = math.floor(-math.log10(spread * 10))
    return {"rtol": float(f"1e-{digits}"), "atol": float(f"1e-{digits + 2}")}


def write_rows(form: Mapping[str, Any], rows: Sequence[Any]) -> Any:
    """Write rows as clients send them."""
    if form["form"] != "tensors":
        return list(rows)
    if len(form["tensors"]) == 1:
        return [row[0] for row in rows]
    return {item["name"]: [row[i] for row in rows] for i, item in enumerate(form["tensors"])}


def write_answers(outputs: Sequence[Mapping[str, Any]]) -> Any:
    """Write answers as clients get them."""
    if len(outputs) == 1:
        return outputs[0]["values"]
    return {item["name"]: item["values"] for item in outputs}
