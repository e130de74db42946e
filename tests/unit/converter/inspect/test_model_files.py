"""Model files that are damaged, or that need what is not here: said by the build, and nothing of them runs."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime as ort
import pytest
import sklearn
import sklearn.base
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from converter.errors import ArtifactError
from converter.inspect.inspector import ModelFacts
from converter.inspect.model_folder import tell_kind
from converter.trust import pickle_reader
from tests.support.models.environments import inspect_whole
from tests.support.models.sample_models import add_source, classifier_graph, model_yaml

CONFIG = "models/m/model_config.yaml"
HERE = sklearn.__version__
X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
Y = np.array([0, 0, 1, 1])


def facts_of(root: Path, files: dict[str, bytes], backend: str = "sklearn", **keys: Any) -> ModelFacts:
    if backend == "sklearn":
        keys.setdefault("model_args", {"model_file": "m.joblib"})
    # None is made here: tests of environments do that.
    source = add_source(root / "models", "m", model_yaml(backend, **keys), files)
    return inspect_whole(source, root, environments="off", trust_imports="sklearn.ensemble.forest.*, boosted_trees.*")


def problem_of(root: Path, files: dict[str, bytes], backend: str = "sklearn", **keys: Any) -> str:
    with pytest.raises(ArtifactError) as caught:
        facts_of(root, files, backend, **keys)
    assert caught.value.exit_code == 2
    (problem,) = caught.value.problems
    assert str(root) not in problem
    return problem


def dumped(root: Path, model: Any, compress: Any = 0) -> bytes:
    joblib.dump(model, root / "dumped", compress=compress)
    return (root / "dumped").read_bytes()


def forest() -> Any:
    return RandomForestClassifier(5, random_state=np.random.RandomState(1)).fit(X, Y)


MODELS: dict[str, Callable[[], Any]] = {
    "forest": forest,
    "boosting": lambda: GradientBoostingClassifier(n_estimators=3).fit(X, Y),
    "pipeline": lambda: make_pipeline(StandardScaler(), OneHotEncoder(), LogisticRegression()).fit(X, Y),
    "objects": lambda: {"words": np.array(["a", None, {1, 2}], dtype=object), "frozen": frozenset({1})},
}


@pytest.mark.parametrize("name", list(MODELS))
def test_good_pickles_pass_however_they_were_written(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    files = [pickle.dumps(model, protocol) for protocol in (0, 2, 5)]
    files += [dumped(tmp_path, model, compress) for compress in (0, 3, ("gzip", 1), ("bz2", 1), ("xz", 1), ("lzma", 1))]
    for content in files:
        assert facts_of(tmp_path, {"m.joblib": content}).notes == ()


def test_reading_runs_nothing_of_the_file(tmp_path: Path) -> None:
    flag = tmp_path / "ran"

    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (f"open({str(flag)!r}, 'w')",))

    (tmp_path / "bad").write_bytes(pickle.dumps([Bad()]))
    assert ("builtins", "exec") in pickle_reader.read(tmp_path / "bad").names
    assert not flag.exists()


def test_R31_pickle_cut_short_anywhere_is_named(tmp_path: Path) -> None:
    for compress in (0, 3, ("gzip", 1), ("xz", 1)):
        content = dumped(tmp_path, forest(), compress)
        for length in (1, 10, len(content) // 3, len(content) // 2, len(content) - 1):
            assert problem_of(tmp_path, {"m.joblib": content[:length]}) == (
                f"{CONFIG}: m.joblib is damaged, or not a pickle: write the model's file again"
            ), (compress, length)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x08\x08\x12\x08skl2onnx\x1a\x04", "an ONNX graph: backend onnx loads it under a name that ends in .onnx"),
        (b" <!DOCTYPE html>", "a page of the web, as of a download that failed: download the model's file again"),
        (b"PK\x03\x04", "an archive, as torch writes it: backend torch loads it under a name that ends in .pt"),
    ],
    ids=["graph", "web page", "archive"],
)  # fmt: skip
def test_R31_another_kind_of_file_is_named_with_its_backend(tmp_path: Path, content: bytes, said: str) -> None:
    assert problem_of(tmp_path, {"m.joblib": content}) == f"{CONFIG}: m.joblib is {said}"


def test_R31_a_pickle_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(pickle.dumps({}))
    said = tell_kind(tmp_path / "pickle")
    assert said == "a pickle: backend sklearn loads it under a name that ends in .joblib or .pkl"


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x10
    return bytes(changed)


def test_R31_flipped_bit_of_a_compressed_pickle_is_named_wherever_it_is(tmp_path: Path) -> None:
    content = dumped(tmp_path, forest(), 3)
    for place in range(0, len(content), len(content) // 12):
        assert "m.joblib is damaged, or not a pickle" in problem_of(tmp_path, {"m.joblib": flipped(content, place)})


def test_R31_flipped_bit_of_a_plain_pickle_is_a_sentence_or_a_pickle(tmp_path: Path) -> None:
    """It has no checksum: a weight that is another number cannot be told from the right one."""
    content = dumped(tmp_path, forest())
    refused = 0
    for place in range(0, len(content), 53):
        try:
            facts_of(tmp_path, {"m.joblib": flipped(content, place)})
        except ArtifactError as error:
            refused += 1
            assert "m.joblib" in str(error)
    assert refused > 10


def test_R31_damaged_graph_is_named(tmp_path: Path) -> None:
    content = classifier_graph()
    shapes = {"input": {"shape": [-1, 3], "dtype": "float32"}, "output": {"shape": [-1], "dtype": "int64"}}
    for length in (10, len(content) // 2, len(content) - 2):
        problem = problem_of(tmp_path, {"m.onnx": content[:length]}, "onnx", **shapes)
        assert problem.startswith(f"{CONFIG}: m.onnx"), length
    refused = 0
    for place in range(0, len(content), len(content) // 12):
        damaged = flipped(content, place)
        try:
            facts_of(tmp_path, {"m.onnx": damaged}, "onnx", **shapes)
        except ArtifactError as error:
            refused += 1
            assert "m.onnx" in str(error)
        else:
            # What it holds is a graph, if another one.
            with contextlib.suppress(Exception):
                ort.InferenceSession(damaged, providers=["CPUExecutionProvider"])
    assert refused > 3


def test_R31_damaged_torchscript_is_named(tmp_path: Path, torch_files: Path) -> None:
    content = (torch_files / "script.pt").read_bytes()
    for length in (10, len(content) // 2, len(content) - 2):
        problem = problem_of(tmp_path, {"m.pt": content[:length]}, "torch")
        assert problem.startswith(f"{CONFIG}: m.pt is damaged"), length
    start = content.index(b"constants.pkl") + 100
    refused = sum(_is_refused(tmp_path, flipped(content, place)) for place in range(start, len(content), 97))
    assert refused > 5


def _is_refused(root: Path, content: bytes) -> bool:
    try:
        facts_of(root, {"m.pt": content}, "torch")
    except ArtifactError as error:
        assert "m.pt" in str(error)
        return True
    return False


@pytest.mark.parametrize("written", ["0.24.2", "9.1.0"])
def test_R30_pickle_of_another_sklearn_is_said_with_both_versions_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(sklearn.base, "__version__", written)
    content = dumped(tmp_path, forest())
    lines = '"joblib", "numpy<2", "scikit-learn==0.24.2"' if written == "0.24.2" else '"joblib", "scikit-learn==9.1.0"'
    assert problem_of(tmp_path, {"m.joblib": content}) == (
        f"{CONFIG}: m.joblib was made for scikit-learn {written}, and the serving environment has scikit-learn {HERE}; "
        "no environment was made for it: it is not there, and SCHWIFT_ENVIRONMENTS=off makes none: set it to on: write "
        f"`requirements: [{lines}]` into the config, or convert the model to ONNX where it was trained, or write "
        "`accept_skew: true` to have it served as it is"
    )
    assert facts_of(tmp_path, {"m.joblib": content}, accept_skew=True).notes == (
        f"m: made for scikit-learn {written}, and served with scikit-learn {HERE} as accept_skew says: its answers may "
        "differ",
    )


def test_R30_patch_release_is_no_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn.base, "__version__", ".".join([*HERE.split(".")[:2], "99"]))
    assert facts_of(tmp_path, {"m.joblib": dumped(tmp_path, forest())}).notes == ()


def test_R30_module_that_this_sklearn_does_not_have_is_an_error(tmp_path: Path) -> None:
    content = pickle.dumps(forest(), 0).replace(b"sklearn.ensemble._forest", b"sklearn.ensemble.forest")
    assert problem_of(tmp_path, {"m.joblib": content}) == (
        f"{CONFIG}: m.joblib was saved by scikit-learn {HERE} and needs sklearn.ensemble.forest, which {HERE} does not "
        "have: name that version in model.requirements, or save the model anew"
    )


def test_R30_pickle_of_numpy_2_is_said(tmp_path: Path) -> None:
    content = pickle.dumps(X, 0).replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    problem = problem_of(tmp_path, {"m.joblib": content})
    assert problem.startswith(
        f"{CONFIG}: m.joblib was made for numpy 2, and the serving environment has numpy {np.__version__}; no "
    )
    assert '`requirements: ["joblib", "numpy>=2"]`' in problem


def pickle_of(module: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The pickle of an object whose class is in a module that only this moment has."""
    made = types.ModuleType(module)
    made.Model = type("Model", (), {"__module__": module})  # type: ignore[attr-defined]  # a module of any content
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, made)
        return pickle.dumps(made.Model())


def test_R17_missing_library_of_a_pickle_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pickle_of("boosted_trees", monkeypatch)
    assert problem_of(tmp_path, {"m.joblib": gzip.compress(content)}) == (
        f"{CONFIG}: m.joblib needs boosted_trees, which is not installed: pip install boosted_trees"
    )
    # A module beside the file goes along into the repository.
    beside = {"boosted_trees.py": b"class Model: ...\n"}
    assert facts_of(tmp_path, {"m.joblib": content, **beside}).notes == ()


def test_R17_class_of_the_script_that_saved_it_is_refused(tmp_path: Path) -> None:
    assert problem_of(tmp_path, {"m.joblib": b"c__main__\nMyModel\n)\x81."}) == (
        f"{CONFIG}: m.joblib needs MyModel of the script that saved it: put it into a module beside the file, import "
        "it from there, and save the model again"
    )


def test_R17_missing_library_of_a_python_model_is_named_with_its_line(tmp_path: Path) -> None:
    keys = {"model_args": {"class": "models.m.model:Model"}}
    model = b"import numpy\nfrom .near import x\nfrom helper import y\n\n\nclass Model: ...\n"
    files = {"model.py": model, "helper.py": b"import math\nimport cv2.gapi\n", "near.py": b""}
    assert problem_of(tmp_path, files, "python", **keys) == (
        "m/helper.py:2: the model needs cv2, which is not installed: pip install opencv-python"
    )
    optional = b"try:\n    import cv2\nexcept ImportError:\n    cv2 = None\n"
    assert facts_of(tmp_path, {**files, "helper.py": optional}, "python", **keys).notes == ()


def test_a_pickle_that_claims_more_bytes_than_it_has_is_damaged(tmp_path: Path) -> None:
    """Python's own reader would make room for them before it reads one."""
    (tmp_path / "m.pkl").write_bytes(b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b"x.")
    with pytest.raises(pickle_reader.DamagedPickle, match="ends within a bytearray"):
        pickle_reader.read(tmp_path / "m.pkl")
    (tmp_path / "m.pkl").write_bytes(b"\x80\x05\x96" + (3).to_bytes(8, "little") + b"abc.")
    assert pickle_reader.read(tmp_path / "m.pkl").names == set()
