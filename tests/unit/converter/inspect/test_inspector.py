"""What is found out about a model's file, and how a file that cannot be served is refused."""

from __future__ import annotations

import functools
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from converter.errors import ArtifactError
from converter.inspect import worker_process
from converter.inspect.inspector import GraphTensor, ModelFacts, inspect, inspect_all
from converter.inspect.worker_process import WorkerProcess
from converter.trust.operator_trust import OperatorTrust
from tests.support.models.environments import environments_in
from tests.support.models.sample_models import (
    add_source,
    classifier_graph,
    graph,
    model_yaml,
    sparse_bomb,
    zipmap_graph,
)

CONFIG = "models/m/model_config.yaml"


def problems_of(tmp_path: Path, config: str, files: dict[str, bytes], folder: str = "m") -> tuple[str, ...]:
    source = add_source(tmp_path / "models", folder, config, files)
    with pytest.raises(ArtifactError) as caught:
        inspect(source, tmp_path)
    return caught.value.problems


def facts_of(tmp_path: Path, config: str, files: dict[str, bytes], folder: str = "m") -> ModelFacts:
    return inspect(add_source(tmp_path / "models", folder, config, files), tmp_path)


def test_missing_file_is_said_with_the_nearest_one(tmp_path: Path) -> None:
    assert problems_of(tmp_path, model_yaml(), {"n.joblib": b"x"}) == (
        f"{CONFIG}: model.model_args.model_file: m.joblib is not beside this file (did you mean n.joblib?)",
    )


def test_empty_file_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, model_yaml(), {"m.joblib": b""}) == (
        f"{CONFIG}: m.joblib is empty: write the model's file again",
    )


@pytest.mark.parametrize("backend", ["joblib", "sklearn", "onnx", "torch"])
def test_a_pointer_of_git_lfs_is_told_from_the_file(tmp_path: Path, backend: str) -> None:
    name = {"onnx": "m.onnx", "torch": "m.pt"}.get(backend, "m.joblib")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    assert problems_of(tmp_path, model_yaml(backend), {name: pointer}) == (
        f"{CONFIG}: {name} is a Git LFS pointer, not the file: run `git lfs pull`",
    )


def test_a_graph_that_needs_a_locale_says_which(tmp_path: Path) -> None:
    node = helper.make_node("StringNormalizer", ["a"], ["x"], case_change_action="LOWER", locale="xx_XX.UTF-8")
    content = graph({"a": (TensorProto.STRING, [None])}, {"x": (TensorProto.STRING, [None])}, [node])
    (problem,) = problems_of(tmp_path, model_yaml("onnx"), {"m.onnx": content})
    assert problem == (
        f"{CONFIG}: m.onnx needs the locale xx_XX.UTF-8, which is not here: install it, or export the model with the "
        'locale "C" (skl2onnx: options={TfidfVectorizer: {"locale": "C"}})'
    )


def test_tensors_of_a_graph_are_found_with_their_free_axes(tmp_path: Path) -> None:
    content = graph(
        {"a": (TensorProto.FLOAT, [None, 4]), "b": (TensorProto.INT64, ["batch", "width", 2])},
        {"x": (TensorProto.FLOAT, [None, 4]), "y": (TensorProto.INT64, ["batch", "width", 2])},
    )
    facts = facts_of(tmp_path, model_yaml("onnx"), {"m.onnx": content})
    assert facts.inputs == (
        GraphTensor("a", "tensor(float)", (None, 4)),
        GraphTensor("b", "tensor(int64)", (None, None, 2)),
    )
    assert facts.outputs == (
        GraphTensor("x", "tensor(float)", (None, 4)),
        GraphTensor("y", "tensor(int64)", (None, None, 2)),
    )


def test_label_of_rank_one_keeps_its_rank(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, model_yaml("onnx"), {"m.onnx": classifier_graph()})
    assert facts.outputs == (
        GraphTensor("label", "tensor(int64)", (None,)),
        GraphTensor("probabilities", "tensor(float)", (None, 3)),
    )


def test_zipmap_output_is_found_as_a_sequence(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, model_yaml("onnx"), {"m.onnx": zipmap_graph()})
    assert facts.outputs == (GraphTensor("probabilities", "seq(map(int64,tensor(float)))", ()),)


def test_graph_in_a_folder_below_is_found(tmp_path: Path) -> None:
    config = model_yaml("onnx", model_args={"model_file": "./graphs/m.onnx"})
    assert facts_of(tmp_path, config, {"graphs/m.onnx": classifier_graph()}).inputs == (
        GraphTensor("features", "tensor(float)", (None, 3)),
    )


@pytest.mark.parametrize("content", [b"garbage", classifier_graph()[:60]], ids=["garbage", "cut short"])
def test_damaged_graph_is_refused_without_the_path(tmp_path: Path, content: bytes) -> None:
    (problem,) = problems_of(tmp_path, model_yaml("onnx"), {"m.onnx": content})
    assert problem.startswith(f"{CONFIG}: m.onnx: ONNX Runtime cannot load it: ")
    assert str(tmp_path) not in problem


def test_graph_with_an_operator_that_does_not_exist_names_it(tmp_path: Path) -> None:
    content = graph(
        {"a": (TensorProto.FLOAT, [None, 4])},
        {"x": (TensorProto.FLOAT, [None, 4])},
        [helper.make_node("NoSuchOperator", ["a"], ["x"])],
    )
    (problem,) = problems_of(tmp_path, model_yaml("onnx"), {"m.onnx": content})
    assert "NoSuchOperator" in problem


CLASS = b"class Multiply:\n    def predict(self, X):\n        return X\n"


# What keeps it out of packs.
CODE = "backend python is code of its own"


def python_yaml(path: str) -> str:
    return model_yaml("python", model_args={"class": path})


@pytest.mark.parametrize(
    ("path", "file", "package"),
    [
        ("models.m.model:Multiply", "model.py", "models"),
        ("model:Multiply", "model.py", "models"),
        ("code.models.net:Multiply", "code/models/net.py", "models"),
        ("models.m.code.net:Multiply", "code/net.py", "models"),
        ("models.m.code:Multiply", "code/__init__.py", "models"),
        ("backends.m.model:Multiply", "model.py", "backends"),
        ("models.m:Multiply", "__init__.py", "models"),
    ],
)
def test_class_is_found_from_the_folder_or_from_the_one_above_models(
    tmp_path: Path, path: str, file: str, package: str
) -> None:
    assert facts_of(tmp_path, python_yaml(path), {file: CLASS}) == ModelFacts(package=package, own_code=CODE)


@pytest.mark.parametrize(
    "text",
    [
        "from other import Multiply\n",
        "import other as Multiply\n",
        "Multiply = make()\n",
        "def Multiply(factor): ...\n",
        "if True:\n    class Multiply: ...\n",
        "from other import *\n",
    ],
)
def test_class_may_be_made_in_any_way_that_leaves_its_name(tmp_path: Path, text: str) -> None:
    files = {"model.py": text.encode(), "other.py": b""}
    assert facts_of(tmp_path, python_yaml("model:Multiply"), files) == ModelFacts(package="models", own_code=CODE)


def test_code_of_a_python_model_does_not_run_at_build(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    text = f"open({str(flag)!r}, 'w')\n".encode() + CLASS
    facts_of(tmp_path, python_yaml("model:Multiply"), {"model.py": text})
    assert not flag.exists()


@pytest.mark.parametrize("path", ["modle:Multiply", "models.other.model:Multiply", "models.m.modle:Multiply"])
def test_missing_module_is_said_with_both_forms(tmp_path: Path, path: str) -> None:
    assert problems_of(tmp_path, python_yaml(path), {"model.py": CLASS}) == (
        f"{CONFIG}: model.model_args.class: no module {path.split(':')[0]} here: write "
        "models.m.<module>:Multiply or <module>:Multiply, for a file in this folder",
    )


def test_missing_class_is_said_with_the_nearest_name(tmp_path: Path) -> None:
    assert problems_of(tmp_path, python_yaml("models.m.model:Multiplyer"), {"model.py": CLASS}) == (
        f"{CONFIG}: model.model_args.class: model.py has no class or function Multiplyer (did you mean Multiply?)",
    )


def test_syntax_error_is_said_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, python_yaml("model:Multiply"), {"model.py": CLASS + b"def (:\n"})
    assert problem.startswith("m/model.py:4: not valid Python: ")
    assert str(tmp_path) not in problem


def test_module_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, python_yaml("model:Multiply"), {"model.py": CLASS + b"\0"})
    assert problem.startswith("m/model.py:")
    assert ": not valid Python: " in problem


def test_remedy_for_a_folder_that_is_no_python_name_can_be_written(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, python_yaml("modle:Multiply"), {"model.py": CLASS}, folder="my-model")
    assert "my-model.<module>" not in problem, "class may hold no dash, so this remedy would be refused in turn"


def test_problems_of_all_models_are_said_at_once(tmp_path: Path) -> None:
    models = tmp_path / "models"
    sources = (
        add_source(models, "a", model_yaml(name="a"), {"m.joblib": b""}),
        add_source(models, "b", model_yaml(name="b"), {"m.joblib": pickle.dumps("x")}),
        add_source(models, "c", model_yaml(name="c"), {"zz": b"x"}),
    )
    with pytest.raises(ArtifactError) as caught:
        inspect_all(sources, tmp_path, jobs=2, environments=environments_in(tmp_path))
    assert caught.value.problems == (
        "models/a/model_config.yaml: m.joblib is empty: write the model's file again",
        "models/c/model_config.yaml: model.model_args.model_file: m.joblib is not beside this file",
    )
    assert list(inspect_all(sources[1:2], tmp_path, jobs=0, environments=environments_in(tmp_path))) == ["b"]


def problem_of_all(tmp_path: Path, content: bytes = b"") -> str:
    """What is said of one model that a process of its own looked at."""
    files = {"m.onnx": content or classifier_graph()}
    with pytest.raises(ArtifactError) as caught:
        source = add_source(tmp_path / "models", "m", model_yaml("onnx"), files)
        inspect_all((source,), tmp_path, jobs=1, environments=environments_in(tmp_path))
    (problem,) = caught.value.problems
    return problem


def test_A22_model_that_takes_too_much_memory_is_told_the_bound(tmp_path: Path) -> None:
    assert problem_of_all(tmp_path, sparse_bomb()) == (
        f"{CONFIG}: m.onnx takes over 2048 MiB of memory to read, which is the bound for files of this size: save the "
        "model without what it does not need"
    )


def test_model_that_takes_too_long_is_told_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "WorkerProcess", functools.partial(WorkerProcess, seconds=0.01))
    assert problem_of_all(tmp_path) == (
        f"{CONFIG}: m.onnx took over 0 s to read, which is the bound for files of this size: save the model "
        "uncompressed, and without what it does not need"
    )


def test_model_whose_process_ends_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert problem_of_all(tmp_path) == (
        f"{CONFIG}: m.onnx is damaged: reading it ended the process with code 1: write the model's file again"
    )


def test_library_that_a_model_lacks_leaves_it_out_if_that_is_wanted(tmp_path: Path) -> None:
    one = add_source(tmp_path / "models", "m", model_yaml(), {"m.joblib": b"cnot_here_01\nC\n."})
    one = replace(one, trust=OperatorTrust(imports=("not_here_01.*",)))
    left_out: list[str] = []
    assert inspect_all((one,), tmp_path, jobs=1, environments=environments_in(tmp_path), left_out=left_out) == {}
    (problem,) = left_out
    assert problem.startswith(f"{CONFIG}: m.joblib needs not_here_01")
    with pytest.raises(ArtifactError, match="needs not_here_01"):
        inspect_all((one,), tmp_path, jobs=1, environments=environments_in(tmp_path))
