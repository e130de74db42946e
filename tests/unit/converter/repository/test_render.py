"""config.pbtxt: golden files, and each field of a front and of a model as protobuf reads it back.

UPDATE_GOLDEN=1 writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import RepositoryError
from converter.inspect.inspector import GraphTensor, ModelFacts
from converter.repository.render import QueuePolicy, TritonModel, quote, render, set_version
from converter.repository.tensors import TensorPlan
from converter.schema.manifest import Tensor
from tests.support.models.sample_models import OPTIONS, add_source, model_yaml, plan_for

GOLDEN = Path(__file__).parents[3] / "golden"

JOBLIB = {
    "name": "all_options",
    "version": "2.1",
    "description": "Every key that the config knows.",
    "caching": True,
    "model_args": {"model_file": "forest.joblib", "device": "cpu", "method": "predict_proba"},
    "input": [
        {"name": "numbers", "shape": [-1, 4], "dtype": "float"},
        {"name": "words", "shape": [-1, 2, -1], "dtype": "str"},
    ],
    "output": [
        {"name": "score", "shape": [-1], "dtype": "float32"},
        {"name": "flag", "shape": [-1, 1], "dtype": "bool"},
    ],
    "preferred_batch_size": [64, 16, 32],
    "max_batch_delay_ms": 2.5,
    "rush_batch_size": 256,
    "instances": 3,
    "queue": {"max_size": 500, "timeout_ms": 750},
    "trusted": True,
    "endpoints": ["predict", "predict_batched"],
}
ONNX = {
    "name": "labels",
    "model_args": {"model_file": "graphs/rf.onnx"},
    "output": {"type": "array", "shape": [-1, 1], "dtype": "int64"},
    "preferred_batch_size": [16, 32, 64, 128],
    "max_batch_delay_ms": 10,
    "rush_batch_size": 256,
}
KWARGS = {
    "quote": 'say "hi"',
    "back\\slash": "a\\nb",
    "lines": "one\ntwo\ttab\0nul",
    "town": "Århus 日本 🙂",
    "n": [1, None],
}
PYTHON = {"name": "quoting", "model_args": {"class": "models.quoting.model:Model", "kwargs": KWARGS}}

SAMPLES: dict[str, tuple[str, dict[str, Any], ModelFacts]] = {
    "all_options": ("joblib", JOBLIB, ModelFacts()),
    "labels": (
        "onnx",
        ONNX,
        ModelFacts(
            (GraphTensor("X", "tensor(float)", (None, 4)),),
            (
                GraphTensor("output_label", "tensor(int64)", (None,)),
                GraphTensor("output_probability", "seq(map(int64,tensor(float)))", ()),
            ),
        ),
    ),
    "quoting": ("python", PYTHON, ModelFacts()),
}
NAMES = [name + suffix for name in SAMPLES for suffix in ("", "_direct")]


@pytest.fixture
def rendered(tmp_path: Path) -> Mapping[str, bytes]:
    """The bytes of each Triton model's config.pbtxt."""
    sources = {
        name: add_source(tmp_path / "models", name, model_yaml(backend, **keys), {})
        for name, (backend, keys, _) in SAMPLES.items()
    }
    plan = plan_for(sources.values(), {name: sample[2] for name, sample in SAMPLES.items()})
    texts = {}
    for name in NAMES:
        content = plan.files[f"{name}/config.pbtxt"].content
        assert isinstance(content, bytes)
        texts[name] = content
    return texts


def parse(text: str | bytes) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("name", NAMES)
def test_config_equals_its_golden_file(rendered: Mapping[str, bytes], name: str) -> None:
    path = GOLDEN / f"{name}.pbtxt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rendered[name])
    assert rendered[name].decode() == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_test() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.pbtxt")) == sorted(NAMES)


def tensor(name: str, kind: str, dims: list[int], scalar: bool = False) -> tuple[str, str, list[int], bool, list[int]]:
    return name, kind, dims, scalar, []


def tensors_of(items: Any) -> list[tuple[str, str, list[int], bool, list[int]]]:
    name_of = model_config_pb2.DataType.Name
    return [
        (item.name, name_of(item.data_type), list(item.dims), item.HasField("reshape"), list(item.reshape.shape))
        for item in items
    ]


def test_front_with_all_options_reads_back_field_by_field(rendered: Mapping[str, bytes]) -> None:
    config = parse(rendered["all_options"])
    assert (config.name, config.backend, config.max_batch_size) == ("all_options", "python", 64)
    assert tensors_of(config.input) == [
        tensor("numbers", "TYPE_FP64", [4]),
        tensor("words", "TYPE_STRING", [2, -1]),
    ]
    assert tensors_of(config.output) == [tensor("score", "TYPE_FP32", [1]), tensor("flag", "TYPE_BOOL", [1])]
    assert [(group.kind, group.count) for group in config.instance_group] == [
        (model_config_pb2.ModelInstanceGroup.KIND_CPU, 4)
    ]
    batching = config.dynamic_batching
    assert list(batching.preferred_batch_size) == [16, 32, 64]
    assert batching.max_queue_delay_microseconds == 2500
    policy = batching.default_queue_policy
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert policy.default_timeout_microseconds == 750_000
    assert policy.allow_timeout_override is True
    assert policy.max_queue_size == 500
    assert config.response_cache.enable is True
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "direct_model": "all_options_direct", "timeout_ms": "15000", "debug": "0", "caching": "1",
    }  # fmt: skip
    assert config.default_model_filename == ""


def test_direct_with_all_options_reads_back_field_by_field(rendered: Mapping[str, bytes]) -> None:
    config = parse(rendered["all_options_direct"])
    assert (config.name, config.backend, config.max_batch_size) == ("all_options_direct", "python", 256)
    assert tensors_of(config.input) == [
        tensor("numbers", "TYPE_FP64", [4]),
        tensor("words.bytes", "TYPE_UINT8", [-1]),
        tensor("words.lengths", "TYPE_INT32", [2, -1]),
    ]
    assert [item.allow_ragged_batch for item in config.input] == [False, True, False]
    assert tensors_of(config.output) == tensors_of(parse(rendered["all_options"]).output)
    assert [(group.kind, group.count) for group in config.instance_group] == [
        (model_config_pb2.ModelInstanceGroup.KIND_CPU, 3)
    ]
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching == model_config_pb2.ModelDynamicBatching()
    assert not config.HasField("response_cache")
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "kind": "joblib",
        "import_roots": '["source/models/all_options", "source"]',
        "model_file": "source/models/all_options/forest.joblib",
        "class": "",
        "kwargs": "{}",
        "method": "predict_proba",
        "instances": "3",
        "max_workers": "4",
        "debug": "0",
        "strings": '["words"]',
    }


def test_label_is_reshaped_in_the_graphs_own_model_alone(rendered: Mapping[str, bytes]) -> None:
    front, direct = parse(rendered["labels"]), parse(rendered["labels_direct"])
    assert tensors_of(direct.output) == [tensor("output_label", "TYPE_INT64", [1], scalar=True)]
    assert tensors_of(front.output) == [tensor("output_label", "TYPE_INT64", [1])]
    assert tensors_of(direct.input) == tensors_of(front.input) == [tensor("X", "TYPE_FP32", [4])]


def test_onnx_models_read_back_field_by_field(rendered: Mapping[str, bytes]) -> None:
    front, direct = parse(rendered["labels"]), parse(rendered["labels_direct"])
    assert (front.backend, front.max_batch_size, front.instance_group[0].count) == ("python", 128, 1)
    assert list(front.dynamic_batching.preferred_batch_size) == [16, 32, 64, 128]
    assert front.dynamic_batching.max_queue_delay_microseconds == 10_000
    policy = front.dynamic_batching.default_queue_policy
    assert policy.default_timeout_microseconds == 15_000_000
    assert policy.max_queue_size > OPTIONS.settings.max_concurrent_requests
    assert not front.HasField("response_cache")
    assert (direct.backend, direct.max_batch_size, direct.instance_group[0].count) == ("onnxruntime", 256, 1)
    assert direct.default_model_filename == "graphs/rf.onnx"
    assert direct.HasField("dynamic_batching")
    assert direct.dynamic_batching == model_config_pb2.ModelDynamicBatching()
    assert {key: value.string_value for key, value in direct.parameters.items()} == {
        "intra_op_thread_count": "2", "inter_op_thread_count": "1",
    }  # fmt: skip


def test_kwargs_survive_quotes_unicode_and_newlines(rendered: Mapping[str, bytes]) -> None:
    config = parse(rendered["quoting_direct"])
    assert json.loads(config.parameters["kwargs"].string_value) == KWARGS
    assert config.parameters["class"].string_value == "models.quoting.model:Model"
    assert (config.parameters["kind"].string_value, config.parameters["model_file"].string_value) == ("python", "")
    assert rendered["quoting_direct"].isascii()


MODEL = TritonModel(
    name="m",
    backend="python",
    max_batch_size=8,
    inputs=(TensorPlan(Tensor(name="a", dtype="float32", dims=(4,))),),
    outputs=(TensorPlan(Tensor(name="b", dtype="float32", dims=(1,)), scalar=True),),
    instances=1,
    parameters={},
)


def test_batch_size_of_zero_is_written_out() -> None:
    assert "\nmax_batch_size: 0\n" in render(replace(MODEL, max_batch_size=0))


def test_parameters_are_written_in_one_order() -> None:
    one = render(replace(MODEL, parameters={"b": "1", "a": "2", "C": "3"}))
    assert one == render(replace(MODEL, parameters={"C": "3", "a": "2", "b": "1"}))
    assert re.findall(r'key: "(.)"', one) == ["a", "b", "C"]


@pytest.mark.parametrize(
    "text", ["", 'a"b', "a\\b", "\\101", "'", "\n\r\t\0\x7f", "Århus 日本 🙂", "{{ x }}", "# no", "\\"]
)
def test_quoted_text_reads_back_as_it_was(text: str) -> None:
    config = parse(render(replace(MODEL, parameters={text or "empty": text})))
    assert {key: value.string_value for key, value in config.parameters.items()} == {text or "empty": text}
    assert quote(text).isascii()


def test_name_of_a_tensor_cannot_add_fields() -> None:
    name = 'a" dims: [ 7 ] } parameters { key: "x'
    config = parse(render(replace(MODEL, inputs=(TensorPlan(Tensor(name=name, dtype="int8", dims=(2,))),))))
    assert tensors_of(config.input) == [tensor(name, "TYPE_INT8", [2])]
    assert len(config.parameters) == 0


def test_text_that_does_not_parse_is_refused() -> None:
    bad = replace(MODEL, inputs=(TensorPlan(Tensor(name="a", dtype="float32", dims=(2**63,))),))
    with pytest.raises(RepositoryError, match=r"^m: the generated config\.pbtxt does not parse: "):
        render(bad)


def test_text_that_says_something_else_is_refused() -> None:
    # Without a queue policy the template writes no batch sizes.
    bad = replace(MODEL, preferred_batch_size=(4,))
    with pytest.raises(RepositoryError, match=r"^m: the generated config\.pbtxt says .*, and should say "):
        render(bad)


def test_queue_policy_is_in_microseconds_and_requests() -> None:
    config = parse(render(replace(MODEL, delay_us=0, queue=QueuePolicy(1, 2))))
    batching = config.dynamic_batching
    assert batching.max_queue_delay_microseconds == 0
    policy = batching.default_queue_policy
    assert (policy.default_timeout_microseconds, policy.max_queue_size) == (1, 2)


def test_number_is_put_into_the_version_policy_alone() -> None:
    lookalike = "\n  specific { versions: [ 7 ] }\n"
    text = set_version(render(replace(MODEL, name=lookalike, parameters={lookalike: lookalike})), 12)
    config = parse(text)
    assert list(config.version_policy.specific.versions) == [12]
    assert {config.name, *config.parameters, config.parameters[lookalike].string_value} == {lookalike}
    assert set_version(set_version(text, 3), 12) == text
