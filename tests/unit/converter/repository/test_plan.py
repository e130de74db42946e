"""spec + facts → every file of a repository, without touching the disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import ArtifactError, RepositoryError
from converter.inspect.inspector import GraphTensor, ModelFacts
from converter.repository.content import Plan, join_plans
from converter.repository.plan import BuildOptions, plan_model
from converter.repository.runtime_files import TEMPLATE_ROOT, list_runtime_files
from converter.schema.manifest import Tensor
from tests.support.models.sample_models import OPTIONS, add_source, model_yaml, options_of, plan_for, source_of

RUNTIME = sorted(list_runtime_files())
GRAPH = ModelFacts(
    (GraphTensor("X", "tensor(float)", (None, 4)),), (GraphTensor("Y", "tensor(float)", (None, 3)),), package="models"
)


def plan_of(
    tmp_path: Path,
    backend: str = "joblib",
    facts: ModelFacts = ModelFacts(),  # noqa: B008 (frozen)
    options: BuildOptions = OPTIONS,
    files: tuple[str, ...] = (),
    **keys: Any,
) -> Plan:
    source = add_source(tmp_path / "models", "folder", model_yaml(backend, **keys), dict.fromkeys(files, b"x"))
    return plan_for([source], {"m": facts}, options)


def config_of(plan: Plan, name: str) -> Any:
    content = plan.files[f"{name}/config.pbtxt"].content
    assert isinstance(content, bytes)
    return text_format.Parse(content, model_config_pb2.ModelConfig())


def test_joblib_model_is_a_front_and_a_model_with_its_whole_folder(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, files=("m.joblib", "sub/helper.py"))
    source = "m_direct/1/source/models/folder"
    assert sorted(plan.files) == sorted(
        ["m/config.pbtxt", "m/1/model.py", "m/1/wake_key", "m_direct/config.pbtxt", "m_direct/1/model.py"]
        + [f"{name}/1/{file}" for name in ("m", "m_direct") for file in RUNTIME]
        + [f"{source}/{file}" for file in ("model_config.yaml", "m.joblib", "sub/helper.py")]
    )
    assert list(plan.files) == sorted(plan.files)
    assert plan.files["m/1/wake_key"].content == b"key-of-m\n"
    assert plan.files["m/1/model.py"].content == TEMPLATE_ROOT / "front" / "model.py"
    assert plan.files["m_direct/1/model.py"].content == TEMPLATE_ROOT / "model" / "model.py"
    assert plan.files[f"{source}/m.joblib"].content == tmp_path / "models" / "folder" / "m.joblib"


def test_the_release_that_a_pickle_is_right_with_is_known_where_it_is_loaded(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, facts=ModelFacts(made_for={"scikit-learn": "1.7"}), files=("m.joblib",))
    assert config_of(plan, "m_direct").parameters["made_for"].string_value == '{"scikit-learn": "1.7"}'


def test_pickle_is_served_by_the_sum_of_the_bytes_that_were_looked_through(tmp_path: Path) -> None:
    looked_through = hashlib.sha256(b"x").hexdigest()
    plan = plan_of(tmp_path, facts=ModelFacts(sha256=looked_through), files=("m.joblib",))
    assert config_of(plan, "m_direct").parameters["model_sha256"].string_value == looked_through
    (tmp_path / "models" / "folder" / "m.joblib").write_bytes(b"another!")
    with pytest.raises(RepositoryError, match=r"model_config\.yaml: m\.joblib changed while it was read: build again"):
        plan_model(source_of(tmp_path / "models" / "folder"), ModelFacts(sha256=looked_through), OPTIONS, "key")


def test_onnx_folder_lies_in_the_version_folder_without_the_runtime(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "onnx", GRAPH, files=("m.onnx", "weights.bin"))
    assert sorted(name for name in plan.files if name.startswith("m_direct/")) == [
        "m_direct/1/m.onnx", "m_direct/1/model_config.yaml", "m_direct/1/weights.bin", "m_direct/config.pbtxt",
    ]  # fmt: skip


def test_onnx_model_with_strings_is_served_by_the_python_backend(tmp_path: Path) -> None:
    word = GraphTensor("word", "tensor(string)", (None, 1))
    graph = ModelFacts((word,), (GraphTensor("Y", "tensor(float)", (None, 3)),), package="models")
    plan = plan_of(tmp_path, "onnx", graph, files=("m.onnx",), input={"shape": [-1, 1], "dtype": "string"})
    source = "m_direct/1/source/models/folder"
    assert {f"{source}/m.onnx", "m_direct/1/model.py"} <= set(plan.files)
    front, direct = config_of(plan, "m"), config_of(plan, "m_direct")
    assert direct.backend == "python"
    parameters = {key: value.string_value for key, value in direct.parameters.items()}
    assert (parameters["kind"], parameters["strings"]) == ("onnx", '["word"]')
    assert parameters["model_file"] == "source/models/folder/m.onnx"
    assert plan.files["m_direct/1/environment"].content == b"schwift\n"
    assert [item.name for item in direct.input] == ["word.bytes", "word.lengths"]
    assert [item.name for item in front.input] == ["word"]
    (entry,) = plan.entries
    assert entry.packs_strings
    assert [item.name for item in entry.inputs] == ["word"]


def test_package_above_the_models_folder_names_the_copy(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, "python", ModelFacts(package="backends"), files=("model.py",),
        model_args={"class": "backends.folder.model:Model"},
    )  # fmt: skip
    assert "m_direct/1/source/backends/folder/model.py" in plan.files
    roots = config_of(plan, "m_direct").parameters["import_roots"].string_value
    assert roots == '["source/backends/folder", "source"]'


def test_compiled_file_takes_the_place_of_the_pickle(tmp_path: Path) -> None:
    compiled = tmp_path / "scratch.pt"
    compiled.write_bytes(b"TorchScript")
    plan = plan_of(tmp_path, "torch", ModelFacts(compiled=compiled), files=("m.pt",), trusted=True)
    assert plan.files["m_direct/1/source/models/folder/m.pt"].content == compiled


def test_entry_says_what_was_built(tmp_path: Path) -> None:
    (entry,) = plan_of(tmp_path, rush_batch_size=256, preferred_batch_size=[8, 64]).entries
    assert (entry.name, entry.front, entry.direct, entry.version) == ("m", "m", "m_direct", 1)
    assert entry.triton_models == ("m_direct", "m")
    assert entry.inputs == (Tensor(name="features", dtype="float32", dims=(4,)),)
    assert entry.outputs == (Tensor(name="predictions", dtype="float32", dims=(3,)),)
    assert (entry.direct_max_rows, entry.queue_size) == (256, 2048)
    assert (entry.triton_model("predict"), entry.triton_model("predict_batched")) == ("m_direct", "m")


@pytest.mark.parametrize(
    ("backend", "file", "place"),
    [("joblib", "m.joblib", "source/models/folder/sample.json"), ("onnx", "m.onnx", "sample.json")],
)
def test_entry_says_where_the_sample_is(tmp_path: Path, backend: str, file: str, place: str) -> None:
    facts = GRAPH if backend == "onnx" else ModelFacts()
    sample = b'{"features": [[1, 2, 3, 4]], "predictions": [[1, 2, 3]]}'
    source = add_source(tmp_path / "models", "folder", model_yaml(backend), {file: b"x", "sample.json": sample})
    plan = plan_for([source], {"m": facts}, OPTIONS)
    assert plan.entries[0].sample == place
    assert f"m_direct/1/{place}" in plan.files


def test_a_sample_with_a_mistake_is_refused_with_its_place(tmp_path: Path) -> None:
    files = {"m.joblib": b"x", "sample.json": b'{"features": [[1]]}'}
    source = add_source(tmp_path / "models", "folder", model_yaml(), files)
    with pytest.raises(ArtifactError, match=r"^folder/sample\.json: predictions: a sample needs rows"):
        plan_for([source], {"m": ModelFacts()}, OPTIONS)


def test_another_file_of_that_name_is_no_sample(tmp_path: Path) -> None:
    source = add_source(tmp_path / "models", "folder", model_yaml(), {"m.joblib": b"x", "sample.json": b"[]"})
    assert plan_for([source], {"m": ModelFacts()}, OPTIONS).entries[0].sample is None


@pytest.mark.parametrize(
    ("keys", "front", "preferred", "direct"),
    [
        ({}, 32, [32], 32),
        ({"preferred_batch_size": [16, 128]}, 128, [16, 128], 128),
        ({"preferred_batch_size": [16], "rush_batch_size": 256}, 16, [16], 256),
        ({"preferred_batch_size": [128], "rush_batch_size": 64}, 128, [128], 128),
        ({"rush_batch_size": 8}, 32, [32], 32),
        ({"max_batch_size": 256}, 32, [32], 256),
        ({"max_batch_size": 8}, 8, [8], 8),
        ({"max_batch_size": 64, "preferred_batch_size": [4, 16], "rush_batch_size": 64}, 16, [4, 16], 64),
    ],
)
def test_batch_sizes_come_from_preferred_rush_and_the_setting(
    tmp_path: Path, keys: dict[str, Any], front: int, preferred: list[int], direct: int
) -> None:
    plan = plan_of(tmp_path, **keys)
    config = config_of(plan, "m")
    assert config.max_batch_size == front
    assert list(config.dynamic_batching.preferred_batch_size) == preferred
    assert config_of(plan, "m_direct").max_batch_size == direct
    assert plan.entries[0].direct_max_rows == direct


@pytest.mark.parametrize(("cores", "workers", "instances"), [(2, 4, 2), (8, 4, 4), (1, 1, 1), (128, 128, 64)])
def test_auto_is_an_instance_a_core_up_to_the_setting(tmp_path: Path, cores: int, workers: int, instances: int) -> None:
    plan = plan_of(tmp_path, options=options_of(cores, max_ml_workers=workers), instances="auto")
    assert plan.entries[0].spec.instances == instances
    direct = config_of(plan, "m_direct")
    assert [group.count for group in direct.instance_group] == [instances]
    assert direct.parameters["instances"].string_value == str(instances)
    assert [group.count for group in config_of(plan, "m").instance_group] == [{1: 1, 2: 3, 4: 5, 64: 65}[instances]]


@pytest.mark.parametrize(("written", "kept"), [({"levels": 3}, (3, 3)), ({"levels": 5, "default": 2}, (5, 2))])
def test_priority_is_of_the_fronts_queue(tmp_path: Path, written: dict[str, int], kept: tuple[int, int]) -> None:
    plan = plan_of(tmp_path, priority=written)
    batching = config_of(plan, "m").dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == kept
    assert config_of(plan, "m_direct").dynamic_batching.priority_levels == 0


def test_default_batch_size_and_deadline_follow_the_settings(tmp_path: Path) -> None:
    options = options_of(max_batch_size=7, max_concurrent_requests=10, predict_timeout_seconds=2.5)
    plan = plan_of(tmp_path, options=options)
    config = config_of(plan, "m")
    assert config.max_batch_size == 7
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 2_500_000
    assert config.parameters["timeout_ms"].string_value == "2500"
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 20
    assert plan.entries[0].queue_size == 20


@pytest.mark.parametrize(("instances", "front"), [(1, 1), (2, 3), (5, 6)])
def test_front_of_several_instances_has_one_more(tmp_path: Path, instances: int, front: int) -> None:
    plan = plan_of(tmp_path, instances=instances)
    assert config_of(plan, "m").instance_group[0].count == front
    assert config_of(plan, "m_direct").instance_group[0].count == instances


def test_without_predict_batched_there_is_no_front(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, endpoints="predict")
    assert {name.split("/")[0] for name in plan.files} == {"m_direct"}
    (entry,) = plan.entries
    assert (entry.front, entry.triton_models) == (None, ("m_direct",))
    assert entry.triton_model("predict_batched") == "m_direct"


def test_without_predict_the_front_still_has_its_model(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, endpoints=["predict_batched"])
    assert {name.split("/")[0] for name in plan.files} == {"m", "m_direct"}
    assert plan.entries[0].spec.endpoints == ("predict_batched",)


def test_debug_model_reaches_both_models(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, options=options_of(debug_model=True))
    assert [config_of(plan, name).parameters["debug"].string_value for name in ("m", "m_direct")] == ["1", "1"]


@pytest.mark.parametrize(
    ("cores", "workers", "instances", "threads"),
    [(8, 4, 1, "4"), (2, 4, 1, "2"), (8, 4, 2, "2"), (8, 4, 3, "1"), (1, 4, 4, "1")],
)
def test_threads_of_onnx_models_share_the_workers(
    tmp_path: Path, cores: int, workers: int, instances: int, threads: str
) -> None:
    options = options_of(cores, max_ml_workers=workers)
    plan = plan_of(tmp_path, "onnx", GRAPH, options, instances=instances)
    assert config_of(plan, "m_direct").parameters["intra_op_thread_count"].string_value == threads


def test_kept_models_stand_beside_new_ones_in_order(tmp_path: Path) -> None:
    first = plan_for([add_source(tmp_path / "models", "z", model_yaml(name="z"), {})])
    second = join_plans([first, plan_for([add_source(tmp_path / "models", "a", model_yaml(name="a"), {})])])
    assert [entry.name for entry in second.entries] == ["a", "z"]
    assert {name.split("/")[0] for name in second.files} == {"a", "a_direct", "z", "z_direct"}
    assert second.files["z/config.pbtxt"] == first.files["z/config.pbtxt"]


def test_columns_are_named_to_the_runtime_and_to_the_adapter(tmp_path: Path) -> None:
    columns = [{"name": "b", "dtype": "string", "nullable": True}, {"name": "a", "dtype": "float64"}]
    plan = plan_of(tmp_path, files=("m.joblib",), input={"columns": columns})
    parameters = config_of(plan, "m_direct").parameters
    assert parameters["columns"].string_value == '[["b", "features.string"], ["a", "features.float64"]]'
    assert parameters["several_inputs"].string_value == "0"
    assert config_of(plan, "m").parameters["nullable"].string_value == '["features.string"]'
    assert "nullable" not in parameters and "columns" not in config_of(plan, "m").parameters
    (entry,) = plan.entries
    assert [(column.name, column.nullable) for column in entry.columns] == [("b", True), ("a", False)]
