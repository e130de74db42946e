"""`triton:` in a model's config: what reaches config.pbtxt, as protobuf reads it back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import ArtifactError
from converter.inspect.inspector import GraphTensor, ModelFacts
from converter.repository.triton_fields import NEWER, OWNED, OWNED_PARAMETERS, read_extra_fields
from converter.schema.settings import load_settings
from tests.support import documents
from tests.support.models.sample_models import add_source, model_yaml, options_of, plan_for

GRAPH = ModelFacts(
    (GraphTensor("X", "tensor(float)", (None, 4)),), (GraphTensor("Y", "tensor(float)", (None, 3)),), package="models"
)
WARMUP = {"name": "zeros", "inputs": {"features": {"data_type": "TYPE_FP32", "dims": [4], "zero_data": True}}}


def config_of(tmp_path: Path, name: str, fields: dict[str, Any], backend: str = "joblib", **keys: Any) -> Any:
    source = add_source(tmp_path / "models", "folder", model_yaml(backend, triton=fields, **keys), {})
    facts = GRAPH if backend == "onnx" else ModelFacts()
    content = plan_for([source], {"m": facts}).files[f"{name}/config.pbtxt"].content
    assert isinstance(content, bytes)
    return text_format.Parse(content, model_config_pb2.ModelConfig())


def test_fields_reach_the_direct_model_alone(tmp_path: Path) -> None:
    fields = {
        "metric_tags": {"team": 'a "b"\n'},
        "optimization": {"priority": "PRIORITY_MAX", "gather_kernel_buffer_threshold": 5},
        "model_warmup": [WARMUP, {**WARMUP, "name": "more", "count": 2}],
    }
    direct = config_of(tmp_path, "m_direct", fields)
    assert direct.metric_tags == {"team": 'a "b"\n'}
    assert direct.optimization.priority == model_config_pb2.ModelOptimizationPolicy.PRIORITY_MAX
    assert direct.optimization.gather_kernel_buffer_threshold == 5
    assert [(each.name, each.count) for each in direct.model_warmup] == [("zeros", 0), ("more", 2)]
    assert list(direct.model_warmup[0].inputs["features"].dims) == [4]
    assert (direct.name, direct.max_batch_size) == ("m_direct", 32)
    front = config_of(tmp_path, "m", fields)
    assert (len(front.metric_tags), len(front.model_warmup), front.HasField("optimization")) == (0, 0, False)


def test_a_group_is_joined_with_the_builds(tmp_path: Path) -> None:
    (group,) = config_of(
        tmp_path, "m_direct", {"instance_group": [{"host_policy": "a", "profile": ["x", "y"]}]}, instances=3
    ).instance_group
    assert (group.host_policy, list(group.profile), group.count) == ("a", ["x", "y"], 3)
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


@pytest.mark.parametrize("backend", ["joblib", "onnx"])
@pytest.mark.parametrize("written", ["1", {"string_value": "1"}])
def test_parameters_stand_beside_the_builds(tmp_path: Path, backend: str, written: Any) -> None:
    fields = {"parameters": {"execution_mode": written}}
    direct = config_of(tmp_path, "m_direct", fields, backend)
    assert direct.parameters["execution_mode"].string_value == "1"
    assert set(config_of(tmp_path, "m_direct", {}, backend).parameters) == {*direct.parameters} - {"execution_mode"}


@pytest.mark.parametrize("key", sorted(OWNED))
def test_what_schwift_sets_is_refused_with_the_key_that_sets_it(tmp_path: Path, key: str) -> None:
    first, _, second = key.partition(".")
    assert problem_of(tmp_path, {first: [{second: 1}] if second else 1}).endswith(f": schwift sets this: {OWNED[key]}")


def test_no_parameter_of_the_build_can_be_written(tmp_path: Path) -> None:
    """A pickle with columns and a graph have the most parameters."""
    columns = {"columns": [{"name": "a", "dtype": "float32"}, {"name": "b", "dtype": "string"}]}
    facts = ModelFacts(made_for={"numpy": "1"})
    pickled = add_source(tmp_path / "models", "a", model_yaml(name="a", input=columns), {"m.joblib": b"x"})
    graph = add_source(tmp_path / "models", "b", model_yaml("onnx", name="b"), {})
    plan = plan_for([pickled, graph], {"a": facts, "b": GRAPH})
    written: set[str] = {"model_sha256"}
    for name in ("a_direct", "b_direct"):
        content = plan.files[f"{name}/config.pbtxt"].content
        assert isinstance(content, bytes)
        written |= set(text_format.Parse(content, model_config_pb2.ModelConfig()).parameters)
    assert {"strings", "columns", "made_for", "intra_op_thread_count"} <= written <= set(OWNED_PARAMETERS)
    for key in sorted(written):
        said = problem_of(tmp_path, {"parameters": {key: "1"}})
        assert f"model.triton.parameters.{key}: schwift sets this: {OWNED_PARAMETERS[key]}" in said


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimisation": {}}, "optimisation: tritonclient "),
        ({"optimisation": {}}, "knows no such field (did you mean optimization?): it has name, platform"),
        (
            {"model_warmup": [WARMUP, {"inputs": {"x": {"dimz": [1]}}}]},
            ".model_warmup[1].inputs.x.dimz: tritonclient ",
        ),
        ({"optimization": 3}, ".optimization: write a mapping of graph, priority, "),
        ({"model_warmup": {"name": "x"}}, ".model_warmup: write a list"),
        ({"metric_tags": ["a"]}, ".metric_tags: write a mapping"),
        ({"metric_tags": {"a": 1}}, ".metric_tags.a: 1 is not text: write it in quotes"),
        (
            {"optimization": {"priority": "PRIORITY_MAXX"}},
            ".optimization.priority: 'PRIORITY_MAXX' is not one of PRIORITY_DEFAULT, PRIORITY_MAX, PRIORITY_MIN (did "
            "you mean PRIORITY_MAX?)",
        ),
        ({"optimization": {"graph": {"level": 1.5}}}, ".optimization.graph.level: Couldn't parse integer: 1.5"),
        ({"optimization": {"eager_batching": "yes"}}, ".optimization.eager_batching: Expected true or false without"),
        ({"parameters": {"a": 1}}, ".parameters.a: 1 is not text: write it in quotes"),
        ({"parameters": []}, ".parameters: write a mapping"),
        ({"instance_group": [{}, {}]}, ".instance_group: a model has one group here: write one"),
        ({"instance_group": [{"host_polic": "a"}]}, ".instance_group[0].host_polic: tritonclient "),
        ({"instance_group": [{"profile": "a"}]}, ".instance_group[0].profile: write a list"),
    ],
)
def test_a_mistake_has_its_key_and_the_remedy(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    said = problem_of(tmp_path, fields)
    assert said.startswith("models/folder/model_config.yaml: model.triton.")
    assert message in said


def test_a_field_that_the_triton_here_is_too_old_for_is_named(tmp_path: Path) -> None:
    (newer,) = NEWER
    said = problem_of(tmp_path, {newer: {}})
    assert said.endswith(f".{newer}: Triton has this field since 2.52, and the one here is 2.51.0: remove it")


@pytest.mark.parametrize("version", ["2.52.0", "2.73.0", "3.0"])
def test_another_triton_may_have_it(tmp_path: Path, version: str) -> None:
    for name in ("bin/tritonserver", "backends/python/libtriton_python.so", "TRITON_VERSION"):
        path = tmp_path / "engine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(version)
    source = add_source(tmp_path / "models", "folder", model_yaml(triton={"model_metrics": {}}), {})
    assert read_extra_fields(source, load_settings(None, engine=tmp_path / "engine")).config == "model_metrics {\n}\n"


def test_the_documented_fields_are_taken(tmp_path: Path) -> None:
    blocks = documents.blocks(documents.page("docs/configuration.md"), "yaml")
    (fields,) = [data["model"]["triton"] for block in blocks if "triton" in (data := yaml.safe_load(block))["model"]]
    direct = config_of(tmp_path, "m_direct", fields, "onnx")
    assert direct.parameters["enable_mem_arena"].string_value == "0"
    assert direct.instance_group[0].host_policy == "socket_0"
    assert [warmup.name for warmup in direct.model_warmup] == ["one row"]


def problem_of(tmp_path: Path, fields: dict[str, Any]) -> str:
    source = add_source(tmp_path / "models", "folder", model_yaml(triton=fields), {})
    with pytest.raises(ArtifactError) as caught:
        plan_for([source], options=options_of(cache=tmp_path / "none"))
    return str(caught.value)
