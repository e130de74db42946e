"""Small models for these tests: their YAML, their folders, and graphs written by the onnx package."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import yaml
from onnx import SparseTensorProto, TensorProto, helper

from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.content import Plan, join_plans
from converter.repository.plan import BuildOptions, plan_model
from converter.schema.config_loader import load_spec
from converter.schema.model import ModelFile, ModelSpec
from converter.schema.settings import load_settings

Shape = Sequence[int | str | None]


def options_of(cores: int = 2, **changed: Any) -> BuildOptions:
    """The options of a build with these settings, and with the usual ones for the rest; it tries no models."""
    return BuildOptions(load_settings(None, **{"check": "off", **changed}), cores)


OPTIONS = options_of()


def model_data(backend: str = "joblib", **keys: Any) -> dict[str, Any]:
    """The YAML of a model with the least keys, as plain values; a key that is None is left out."""
    if backend == "python":
        arguments: dict[str, Any] = {"class": "model:Model"}
    else:
        suffix = {"onnx": ".onnx", "torch": ".pt"}.get(backend, ".joblib")
        arguments = {"model_file": f"m{suffix}"}
    data: dict[str, Any] = {
        "name": "m",
        "backend": backend,
        "model_args": arguments,
        "input": {"type": "array", "shape": [-1, 4], "dtype": "float32"},
        "output": {"type": "array", "shape": [-1, 3], "dtype": "float32"},
        **keys,
    }
    return {"model": {key: value for key, value in data.items() if value is not None}}


def model_yaml(backend: str = "joblib", **keys: Any) -> str:
    return yaml.safe_dump(model_data(backend, **keys), sort_keys=False, allow_unicode=True)


def model_spec(backend: str = "joblib", **keys: Any) -> ModelSpec:
    return ModelFile.model_validate(model_data(backend, **keys)).model


def add_model(models: Path, folder: str, config: str, files: Mapping[str, bytes]) -> Path:
    """Write one model's folder."""
    for name, content in {"model_config.yaml": config.encode(), **files}.items():
        path = models / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return models / folder


def add_joblib(models: Path, name: str, **keys: Any) -> Path:
    """A joblib model; what is pickled is not a model, which only a call would show."""
    return add_model(models, name, model_yaml(name=name, **keys), {"m.joblib": pickle.dumps(f"the pickle of {name}")})


def source_of(folder: Path) -> ModelSource:
    """What `discover` makes of one folder, without its checks across folders."""
    shown = f"{folder.parent.name}/{folder.name}/model_config.yaml"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return ModelSource(load_spec(folder / "model_config.yaml", shown), shown, folder, tuple(files))


def add_source(models: Path, folder: str, config: str, files: Mapping[str, bytes]) -> ModelSource:
    return source_of(add_model(models, folder, config, files))


def plan_for(
    sources: Iterable[ModelSource],
    facts: Mapping[str, ModelFacts] | None = None,
    options: BuildOptions = OPTIONS,
    version: int = 1,
) -> Plan:
    """The plan of sources, by default without facts; the mark of each wake-up is the model's name."""
    known = facts or {}
    return join_plans(
        plan_model(source, known.get(source.spec.name, ModelFacts()), options, f"key-of-{source.spec.name}").lay_out(
            version
        )
        for source in sources
    )


def graph(
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    nodes: Sequence[onnx.NodeProto] = (),
    opsets: Mapping[str, int] | None = None,
) -> bytes:
    """An ONNX file. Without nodes each output is the input of the same place, through Identity."""
    if not nodes:
        nodes = [helper.make_node("Identity", [given], [taken]) for given, taken in zip(inputs, outputs, strict=True)]
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
    )
    versions = {"": 17, **(opsets or {})}
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid(domain, number) for domain, number in versions.items()], ir_version=8
    )
    return bytes(model.SerializeToString())


def classifier_graph() -> bytes:
    """As skl2onnx writes one with zipmap off: a label of rank 1 and probabilities of rank 2."""
    nodes = [
        helper.make_node("Identity", ["features"], ["probabilities"]),
        helper.make_node("ArgMax", ["features"], ["label"], axis=1, keepdims=0),
    ]
    return graph(
        {"features": (TensorProto.FLOAT, [None, 3])},
        {"label": (TensorProto.INT64, [None]), "probabilities": (TensorProto.FLOAT, [None, 3])},
        nodes,
    )


def zipmap_graph() -> bytes:
    """As skl2onnx writes one by default: the probabilities are a sequence of maps."""
    nodes = [
        helper.make_node("ZipMap", ["features"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])],
        [
            helper.make_value_info(
                "probabilities",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )
    return bytes(model.SerializeToString())


def sparse_bomb() -> bytes:
    """A graph of some hundred bytes whose one weight, of which nearly all is zero, is 64 GiB once it is loaded."""
    values = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0])
    indices = TensorProto(name="i", data_type=TensorProto.INT64, dims=[1], int64_data=[5])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )  # fmt: skip
    graph.sparse_initializer.append(SparseTensorProto(values=values, indices=indices, dims=[1 << 34]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
