"""A packed repository from end to end: its folders, its configs, its members, and what becomes of them in builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import ConfigError
from converter.live_switch.trial_names import lay_out_trial_names
from converter.report import report
from converter.repository.plan import BuildOptions
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.models.packable_models import PACKED, add_code, add_packable
from tests.support.models.repositories import build, contents, roll_back, whole
from tests.support.models.sample_models import add_joblib, options_of
from triton_repo_template.runtime.config import ModelConfig, TensorConfig

HOST = "default_pack_direct"
FRONT = "default_pack"


def build_packed(root: Path, *names: str, options: BuildOptions = PACKED) -> Manifest:
    build(root, names, options=options)
    return whole(root / "repo")


def entry_of(manifest: Manifest, name: str) -> ModelEntry:
    entry = manifest.model(name)
    assert entry is not None
    return entry


def read_config(root: Path, name: str) -> Any:
    text = (root / "repo" / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def read_json(root: Path, path: str) -> Any:
    return json.loads((root / "repo" / path).read_bytes())


def members(root: Path, version: int = 1) -> dict[str, int]:
    """The versions of the members of the default pack, in which host and front agree."""
    found = read_json(root, f"{HOST}/{version}/members.json")
    assert found == read_json(root, f"{FRONT}/{version}/members.json")
    return {name: member["version"] for name, member in found.items()}


def tensors(listed: Any) -> dict[str, tuple[str, list[int]]]:
    return {one.name: (model_config_pb2.DataType.Name(one.data_type), list(one.dims)) for one in listed}


def test_a_whole_packed_repository(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    add_code(tmp_path / "models")
    manifest = build_packed(tmp_path)
    assert {entry.name: (entry.host, entry.folders) for entry in manifest.models} == {
        "code": (None, ("code_direct", "code")),
        "graph": (HOST, ("graph_alone", "graph_direct", "graph")),
        "numbers": (HOST, ("numbers_alone", "numbers_direct", "numbers")),
        "texts": (HOST, ("texts_alone", "texts_direct", "texts")),
    }
    assert [(host.name, host.front, host.direct, host.version) for host in manifest.hosts] == [(FRONT, FRONT, HOST, 1)]
    folders = {path.name for path in (tmp_path / "repo").iterdir() if path.is_dir()}
    assert folders == {name for entry in (*manifest.models, *manifest.hosts) for name in entry.folders}
    for name in folders:
        config = read_config(tmp_path, name)
        assert config.name == name
        assert list(config.version_policy.specific.versions) == [1]
        assert any((tmp_path / "repo" / name / "1").iterdir())


def test_the_host_has_a_tensor_for_each_of_its_models(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    host, front = read_config(tmp_path, HOST), read_config(tmp_path, FRONT)
    common = {"schwift.call": ("TYPE_UINT8", [-1]), "numbers.features": ("TYPE_FP32", [4]),
              "graph.features": ("TYPE_FP32", [3])}  # fmt: skip
    packed = {"texts.features.bytes": ("TYPE_UINT8", [-1]), "texts.features.lengths": ("TYPE_INT32", [2])}
    assert tensors(host.input) == common | packed
    assert tensors(front.input) == common | {"texts.features": ("TYPE_STRING", [2])}
    assert all(one.optional for config in (host, front) for one in config.input)
    assert {one.name for one in host.input if one.allow_ragged_batch} == {"schwift.call", "texts.features.bytes"}
    answers = {"schwift.answer": ("TYPE_UINT8", [-1]), "numbers.predictions": ("TYPE_FP32", [3]),
               "graph.label": ("TYPE_INT64", [1])}  # fmt: skip
    assert tensors(front.output) == answers | {"texts.predictions": ("TYPE_STRING", [1])}
    assert tensors(host.output).keys() == answers.keys() | {"texts.predictions.bytes", "texts.predictions.lengths"}
    assert not any(one.HasField("reshape") for one in (*host.output, *front.output))


def test_batcher_and_policy_stand_at_the_packs_front(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path, options=options_of(pack="libraries", pack_memory_mb=512))
    host, front = read_config(tmp_path, HOST), read_config(tmp_path, FRONT)
    assert (host.max_batch_size, front.max_batch_size) == (32, 32)
    assert host.HasField("dynamic_batching") and host.dynamic_batching.max_queue_delay_microseconds == 0
    assert front.dynamic_batching.max_queue_delay_microseconds == 10_000
    assert front.dynamic_batching.default_queue_policy.max_queue_size == 2048
    assert (host.instance_group[0].count, front.instance_group[0].count >= 1) == (1, True)
    assert {key: value.string_value for key, value in host.parameters.items()} == {
        "debug": "0", "instances": "1", "max_workers": "4", "memory_mb": "512",
    }  # fmt: skip
    assert front.parameters["nullable"].string_value == '["texts.features"]'
    assert front.parameters["direct_model"].string_value == HOST
    key = (tmp_path / "repo" / HOST / "1" / "host_key").read_text()
    assert len(key) == 32 and key == (tmp_path / "repo" / FRONT / "1" / "host_key").read_text()
    assert (tmp_path / "repo" / FRONT / "1" / "wake_key").read_text().strip() != key
    assert not (tmp_path / "repo" / HOST / "1" / "wake_key").exists()


def test_calls_of_a_pack_of_several_processes_are_not_joined_by_triton(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "numbers", pack="mates", instances=2)
    build_packed(tmp_path)
    host = read_config(tmp_path, "mates_pack_direct")
    assert (host.instance_group[0].count, host.HasField("dynamic_batching")) == (2, False)
    assert host.max_batch_size == 32, "a native client's rows are one call"


def test_an_ensemble_leads_to_the_host_or_to_the_model_alone(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    for name, target, alone in (("numbers", FRONT, True), ("texts_direct", HOST, True), ("texts", FRONT, False)):
        config = read_config(tmp_path, name)
        (step,) = config.ensemble_scheduling.step
        owner = name.removesuffix("_direct")
        assert (config.platform, config.backend, step.model_name) == ("ensemble", "", target)
        assert dict(step.input_map) == {f"{owner}.{one.name}": one.name for one in config.input}
        assert dict(step.output_map) == {f"{owner}.{one.name}": one.name for one in config.output}
        assert (tmp_path / "repo" / name / "1" / "alone.json").exists() == alone
    moved = json_format.ParseDict(read_json(tmp_path, "texts_direct/1/alone.json"), model_config_pb2.ModelConfig())
    (step,) = moved.ensemble_scheduling.step
    assert (moved.name, step.model_name, dict(step.output_map)) == (
        "texts_direct",
        "texts_alone",
        {"predictions.bytes": "predictions.bytes", "predictions.lengths": "predictions.lengths"},
    )
    assert list(moved.version_policy.specific.versions) == [1]


def test_a_member_is_described_as_triton_would(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    graph = read_json(tmp_path, "graph_alone/1/member.json")
    assert (graph["name"], graph["pack"], graph["backend"]) == ("graph", HOST, "onnxruntime")
    config = ModelConfig.parse(json.dumps(graph["config"]))
    assert config.default_model_filename == "m.onnx"
    assert config.inputs == (TensorConfig("features", "float32", (3,)),)
    # A graph's [N], which clients see as [N, 1].
    assert config.outputs == (TensorConfig("label", "int64", ()),)
    texts = ModelConfig.parse(json.dumps(read_json(tmp_path, "texts_alone/1/member.json")["config"]))
    assert texts.inputs == (TensorConfig("features", "object", (2,)),)
    assert (texts.packed_inputs, texts.packed_outputs) == (("features",), ("predictions",))
    assert texts.parameters["model_file"] == "source/models/texts/m.joblib"
    assert (tmp_path / "repo" / "texts_alone" / "1" / texts.parameters["model_file"]).is_file()


def test_the_members_say_whose_a_tensor_is(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    assert read_json(tmp_path, f"{HOST}/1/members.json")["texts"] == {
        "files": "texts_alone",
        "version": 1,
        "inputs": [
            {"name": "features.bytes", "dtype": "uint8", "dims": [-1]},
            {"name": "features.lengths", "dtype": "int32", "dims": [2]},
        ],
        "outputs": [
            {"name": "predictions.bytes", "dtype": "uint8", "dims": [-1]},
            {"name": "predictions.lengths", "dtype": "int32", "dims": [1]},
        ],
        "strings": ["features", "predictions"],
        "nullable": ["features"],
        "max_rows": 32,
    }


@pytest.mark.parametrize("recall", [True, False])
def test_the_same_build_twice_gives_the_same_bytes(tmp_path: Path, recall: bool) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    before = contents(tmp_path / "repo")
    assert not build(tmp_path, options=BuildOptions(PACKED.settings, PACKED.cores, recall=recall)).changes
    assert contents(tmp_path / "repo") == before


def test_a_new_version_with_the_same_signature_leaves_its_host_as_it_is(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    before = contents(tmp_path / "repo")
    add_joblib(tmp_path / "models", "numbers", version="2")
    manifest = build_packed(tmp_path)
    assert entry_of(manifest, "numbers").version == 2
    assert [host.version for host in manifest.hosts] == [1]
    assert members(tmp_path) == {"graph": 1, "numbers": 2, "texts": 1}
    after = contents(tmp_path / "repo")
    hosts = [path for path in before if path.startswith(f"{FRONT}")]
    assert {path for path in hosts if before[path] != after[path]} == {
        f"{HOST}/1/members.json", f"{FRONT}/1/members.json",
    }  # fmt: skip
    assert read_json(tmp_path, "numbers/2/alone.json")["version_policy"] == {"specific": {"versions": ["2"]}}


def test_another_signature_is_the_next_version_of_the_host(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    keys = [(tmp_path / "repo" / FRONT / "1" / name).read_text() for name in ("host_key", "wake_key")]
    add_joblib(tmp_path / "models", "numbers", input={"shape": [-1, 5], "dtype": "float32"})
    assert [host.version for host in build_packed(tmp_path).hosts] == [2]
    assert members(tmp_path, 2) == {"graph": 1, "numbers": 2, "texts": 1}
    assert not (tmp_path / "repo" / HOST / "1").exists()
    assert keys == [(tmp_path / "repo" / FRONT / "2" / name).read_text() for name in ("host_key", "wake_key")]


def test_a_model_joins_and_leaves_its_pack(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    add_joblib(tmp_path / "models", "numbers", pack=False)
    manifest = build_packed(tmp_path)
    alone = entry_of(manifest, "numbers")
    assert (alone.host, alone.version, alone.folders) == (None, 2, ("numbers_direct", "numbers"))
    assert members(tmp_path, 2) == {"graph": 1, "texts": 1}
    add_joblib(tmp_path / "models", "numbers")
    manifest = build_packed(tmp_path)
    assert (entry_of(manifest, "numbers").host, entry_of(manifest, "numbers").version) == (HOST, 3)
    assert members(tmp_path, 3) == {"graph": 1, "numbers": 3, "texts": 1}


def test_who_is_left_alone_has_no_pack_and_finds_one_again(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    add_joblib(tmp_path / "models", "b")
    build_packed(tmp_path)
    add_joblib(tmp_path / "models", "b", pack=False)
    manifest = build_packed(tmp_path)
    assert [entry.host for entry in manifest.models] == [None, None]
    assert manifest.hosts == () and not (tmp_path / "repo" / HOST).exists()
    # The number of a host that was there is not given again.
    add_joblib(tmp_path / "models", "b")
    assert [host.version for host in build_packed(tmp_path).hosts] == [2]


def test_one_model_alone_is_built_into_the_pack_of_the_others(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    add_joblib(tmp_path / "models", "numbers", version="2")
    add_joblib(tmp_path / "models", "texts", pack=False)
    manifest = build_packed(tmp_path, "numbers")
    assert {entry.name: (entry.host, entry.version) for entry in manifest.models} == {
        "graph": (HOST, 1), "numbers": (HOST, 2), "texts": (HOST, 1),
    }  # fmt: skip
    assert members(tmp_path) == {"graph": 1, "numbers": 2, "texts": 1}


def test_a_host_follows_a_rollback(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build_packed(tmp_path)
    add_joblib(tmp_path / "models", "numbers", input={"shape": [-1, 5], "dtype": "float32"})
    build_packed(tmp_path)
    roll_back(tmp_path, "numbers", PACKED)
    manifest = whole(tmp_path / "repo")
    assert entry_of(manifest, "numbers").version == 1
    assert [host.version for host in manifest.hosts] == [3]
    assert members(tmp_path, 3) == {"graph": 1, "numbers": 1, "texts": 1}
    assert tensors(read_config(tmp_path, HOST).input)["numbers.features"] == ("TYPE_FP32", [4])
    # And the next build leaves it there.
    assert not build(tmp_path, options=PACKED).changes


def test_a_rollback_to_a_time_before_the_pack_takes_the_model_out(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    build(tmp_path)
    build_packed(tmp_path)
    roll_back(tmp_path, "numbers", PACKED)
    manifest = whole(tmp_path / "repo")
    assert (entry_of(manifest, "numbers").host, entry_of(manifest, "numbers").version) == (None, 1)
    assert members(tmp_path, 2) == {"graph": 2, "texts": 2}
    assert not build(tmp_path, options=PACKED).changes


def test_the_report_has_a_line_for_each_pack(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    add_joblib(tmp_path / "models", "cached", caching=True)
    said = report(build(tmp_path, options=PACKED)).splitlines()
    assert "pack default: 3 models in one process, in the serving environment: graph, numbers, texts" in said
    assert "note: pack default: kept out by caching, each in a process of its own: cached" in said


@pytest.mark.parametrize(
    ("name", "owners"),
    [
        ("default_pack", "model default_pack and pack default"),
        ("graph_alone", "model graph and model graph_alone"),
    ],
)
def test_a_models_name_may_not_be_a_packs(tmp_path: Path, name: str, owners: str) -> None:
    add_packable(tmp_path / "models")
    add_code(tmp_path / "models", name)
    with pytest.raises(ConfigError) as refused:
        build(tmp_path, options=PACKED)
    assert f"{owners} would both be {name} inside Triton: rename one of them" in refused.value.problems


def test_a_packed_model_on_trial_has_its_files_alone(tmp_path: Path) -> None:
    add_packable(tmp_path / "models")
    manifest = build_packed(tmp_path)
    entry, repository = entry_of(manifest, "numbers"), (tmp_path / "repo").resolve()
    with lay_out_trial_names([entry], repository, repository) as suffix:
        assert [path.name for path in repository.glob(f"*{suffix}")] == [f"numbers_alone{suffix}"]
        assert (repository / entry.on_trial(suffix).member / "member.json").is_file()
        assert read_config(tmp_path, f"numbers_alone{suffix}").name == f"numbers_alone{suffix}"
    assert list(repository.glob(f"*{suffix}")) == []
