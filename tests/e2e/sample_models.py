"""Models that are difficult on purpose, written as a user would write them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

FUSSY = '''
"""Raises, or answers wrongly, as the first value of a row says."""
import time

import numpy as np


class Fussy:
    def predict(self, X):
        first = X[:, 0]
        if (first == -1).any():
            raise ValueError("no such thing in /secret/path")
        if (first == -2).any():
            return X[:-1]
        if (first == -3).any():
            return np.hstack([X, X])
        if (first == -4).any():
            return np.where(first[:, None] == -4, np.nan, X)
        if (first == -5).any():
            time.sleep(float(X[0, 1]))
        if (first == -6).any():
            return [["text"] * 2] * len(X)
        return X * 2
'''

PAIRS = '''
"""Two inputs and two outputs, by name."""


class Pairs:
    def predict(self, X):
        return {"sum": X["left"] + X["right"], "longer": [max(str(a), str(b), key=len) for a, b in zip(*X.values())]}
'''


TUNED = """\
  instances: auto
  priority: {levels: 3, default: 2}
  max_batch_size: 16
  triton:
    metric_tags: {team: fraud}
    optimization: {eager_batching: true}
    instance_group: [{host_policy: socket_0}]
    parameters: {note: 'say "hi"'}
    model_warmup:
      - {name: a row, batch_size: 1, inputs: {features: {data_type: TYPE_FP64, dims: [2], zero_data: true}}}
"""


def write_all(models: Path) -> None:
    """Every model below, each in its folder of `models`."""
    python_model(models, "fussy", "models.fussy.model:Fussy", FUSSY, "[-1, 2]", "float64")
    python_model(models, "fussy_null", "model:Fussy", FUSSY, "[-1, 2]", "float64", "  non_finite: null\n")
    python_model(models, "cached", "model:Fussy", FUSSY, "[-1, 2]", "float64", "  caching: true\n")
    python_model(models, "short_queue", "model:Fussy", FUSSY, "[-1, 2]", "float64", "  queue: {timeout_ms: 100}\n")
    python_model(models, "direct_only", "model:Fussy", FUSSY, "[-1, 2]", "float64", "  endpoints: [predict]\n")
    python_model(models, "tuned", "model:Fussy", FUSSY, "[-1, 2]", "float64", TUNED)
    _pairs(models)
    onnx_strings(models)
    _onnx_label(models)
    _busy_poll(models)


def folder(models: Path, name: str, config: str) -> Path:
    path = models / name
    path.mkdir(parents=True)
    (path / "model_config.yaml").write_text(dedent(config), encoding="utf-8")
    return path


def python_model(models: Path, name: str, cls: str, code: str, shape: str, dtype: str, more: str = "") -> None:
    path = folder(
        models,
        name,
        f"model:\n  name: {name}\n  backend: python\n  model_args: {{class: '{cls}'}}\n"
        f"  input: {{type: array, shape: {shape}, dtype: {dtype}}}\n"
        f"  output: {{type: array, shape: {shape}, dtype: {dtype}}}\n  preferred_batch_size: [4, 8]\n{more}",
    )
    (path / "model.py").write_text(code, encoding="utf-8")


def _pairs(models: Path) -> None:
    path = folder(
        models,
        "pairs",
        """\
        model:
          name: pairs
          backend: python
          model_args: {class: "models.pairs.model:Pairs"}
          input:
            - {name: left, shape: [-1, 2], dtype: integer}
            - {name: right, shape: [-1, 2], dtype: integer}
          output:
            - {name: sum, shape: [-1, 2], dtype: integer}
            - {name: longer, shape: [-1], dtype: str}
        """,
    )
    (path / "model.py").write_text(PAIRS, encoding="utf-8")


def onnx_strings(models: Path) -> None:
    """Strings in and out, and a second input of its own type."""
    path = folder(
        models,
        "onnx_strings",
        """\
        model:
          name: onnx_strings
          backend: onnx
          model_args: {model_file: graph.onnx}
          input:
            - {name: word, shape: [-1, 1], dtype: string}
            - {name: flag, shape: [-1, 1], dtype: bool}
          output:
            - {name: same, shape: [-1, 1], dtype: string}
            - {name: negated, shape: [-1, 1], dtype: bool}
        """,
    )
    graph = helper.make_graph(
        [helper.make_node("Identity", ["word"], ["same"]), helper.make_node("Not", ["flag"], ["negated"])],
        "g",
        [
            helper.make_tensor_value_info("word", TensorProto.STRING, ["n", 1]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("same", TensorProto.STRING, ["n", 1]),
            helper.make_tensor_value_info("negated", TensorProto.BOOL, ["n", 1]),
        ],
    )
    save(graph, path / "graph.onnx")


def _onnx_label(models: Path) -> None:
    """An output of shape [N], as skl2onnx writes labels."""
    path = folder(
        models,
        "onnx_label",
        """\
        model:
          name: onnx_label
          backend: onnx
          model_args: {model_file: graph.onnx}
          input: {type: array, shape: [-1, 3], dtype: float32}
          output: {type: array, shape: [-1, 1], dtype: int64}
        """,
    )
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])],
    )
    save(graph, path / "graph.onnx")


def save(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _busy_poll(models: Path) -> None:
    """An nn.Module saved whole; its class is torch's own."""
    path = folder(
        models,
        "eager",
        """\
        model:
          name: eager
          backend: torch
          trusted: true
          model_args: {model_file: net.pt}
          input: {type: array, shape: [-1, 3], dtype: float32}
          output: {type: array, shape: [-1, 2], dtype: float32}
        """,
    )
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.arange(6, dtype=np.float32).reshape(2, 3)))
        layer.bias.fill_(0.5)
    torch.save(layer, path / "net.pt")
