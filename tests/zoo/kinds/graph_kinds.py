"""ONNX graphs and networks of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from .samples_of_people import CHURN, PEOPLE, THREE, X
from .specimen import Make, Specimen


def _write_iris(zipmap: bool) -> Make:
    def make(folder: Path) -> list[str]:
        model = LogisticRegression().fit(X, THREE)
        graph = to_onnx(model, X[:1].astype("float32"), options={"zipmap": zipmap}, target_opset=17)
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
        return [str(folder / "model.onnx")]

    return make


def _write_people(folder: Path) -> list[str]:
    columns = make_column_transformer(
        (StandardScaler(), ["age", "pay"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(PEOPLE[["age", "pay", "city"]], CHURN)
    types = [(name, FloatTensorType([None, 1])) for name in ("age", "pay")] + [("city", StringTensorType([None, 1]))]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=17)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return [str(folder / "model.onnx")]


def _write_two(folder: Path) -> list[str]:
    left = helper.make_tensor_value_info("left", TensorProto.FLOAT, ["n", 3])
    right = helper.make_tensor_value_info("right", TensorProto.FLOAT, ["n", 3])
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, ["n", 3])
    product = helper.make_tensor_value_info("product", TensorProto.FLOAT, ["n", 3])
    nodes = [
        helper.make_node("Add", ["left", "right"], ["total"]),
        helper.make_node("Mul", ["left", "right"], ["product"]),
    ]
    graph = helper.make_graph(nodes, "two", [left, right], [total, product])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return [str(folder / "model.onnx")]


def _write_image(folder: Path) -> list[str]:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.01 * (i % 7 - 3) for i in range(108)])
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
        helper.make_node("Flatten", ["means"], ["scores"]),
    ]
    graph = helper.make_graph(nodes, "image", [image], [scores], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return [str(folder / "model.onnx")]


class _Two(nn.Module):  # type: ignore[misc]  # torch is not typed here
    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((user * item).sum(dim=1, keepdim=True))


def _scripted(module: Any, *options: str) -> Make:
    def make(folder: Path) -> list[str]:
        torch.jit.script(module.eval()).save(str(folder / "model.pt"))
        return [str(folder / "model.pt"), *options]

    return make


def _write_eager(folder: Path) -> list[str]:
    torch.save(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), folder / "model.pt")
    return [str(folder / "model.pt"), "--input-shape", "4"]


def _write_state(folder: Path) -> list[str]:
    torch.save(nn.Linear(4, 2).state_dict(), folder / "model.pth")
    return [str(folder / "model.pth"), "--input-shape", "4"]


def list_graph_kinds() -> list[Specimen]:
    """List them."""
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    perceptron = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    two = ("--input-shape", "user=4", "--input-shape", "item=4")
    return [
        Specimen("onnx_zipmap", "ONNX, skl2onnx with ZipMap", _write_iris(True)),
        Specimen("onnx_plain", "ONNX, skl2onnx without ZipMap", _write_iris(False)),
        Specimen("onnx_people", "ONNX, three inputs, one of strings", _write_people),
        Specimen("onnx_two", "ONNX, two inputs and outputs", _write_two),
        Specimen("onnx_image", "ONNX, convolution of images", _write_image),
        Specimen("torch_mlp", "TorchScript, perceptron", _scripted(perceptron)),
        Specimen("torch_conv", "TorchScript, convolution", _scripted(conv, "--input-shape", "3,16,16")),
        Specimen("torch_two", "TorchScript, two inputs", _scripted(_Two(), *two)),
        Specimen("torch_eager", "eager torch module", _write_eager),
        Specimen("torch_state", "state dict alone", _write_state, served=False),
    ]
