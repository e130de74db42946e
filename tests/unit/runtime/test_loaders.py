"""From a model's file or class to one callable."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tests.support.models.runtime_models import config_json, make_config
from triton_repo_template.runtime import loaders
from triton_repo_template.runtime.config import TensorConfig
from triton_repo_template.runtime.errors import LoadError, ModelError
from triton_repo_template.runtime.loaders import choose_method, load_predictor

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
WIDE = [TensorConfig("y", "float32", (2,))]
LABEL = [TensorConfig("y", "int64", (1,))]


@pytest.fixture(autouse=True)
def _imports_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("users_"):
            del sys.modules[name]


def classifier() -> LogisticRegression:
    return LogisticRegression().fit(X, LABELS)


def predictor(folder: Path, *args: Any, **parameters: Any) -> Any:
    return load_predictor(folder, make_config(*args, **parameters))


@pytest.mark.parametrize(
    ("model", "wanted", "outputs", "method"),
    [
        (classifier(), "auto", WIDE, "predict_proba"),
        (classifier(), "auto", [TensorConfig("y", "float64", (-1,))], "predict_proba"),
        (classifier(), "auto", LABEL, "predict"),
        (classifier(), "auto", [TensorConfig("y", "float32", (1,))], "predict"),
        (classifier(), "auto", [TensorConfig("y", "int64", (2,))], "predict"),
        (classifier(), "auto", [TensorConfig("y", "object", (2,))], "predict"),
        (classifier(), "auto", [*LABEL, *WIDE], "predict"),
        (classifier(), "predict", WIDE, "predict"),
        (classifier(), "decision_function", LABEL, "decision_function"),
        (SVC().fit(X, LABELS), "auto", WIDE, "predict"),
        (StandardScaler().fit(X), "auto", WIDE, "transform"),
        (StandardScaler().fit(X), "auto", LABEL, "transform"),
    ],
)
def test_the_method_follows_the_config_then_the_outputs_dtype_and_width(
    model: Any, wanted: str, outputs: list[TensorConfig], method: str
) -> None:
    assert choose_method(model, wanted, outputs) == method


def test_a_method_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match=r"a SVC has no method predict_proba: change model_args\.method"):
        choose_method(SVC().fit(X, LABELS), "predict_proba", WIDE)
    with pytest.raises(ModelError, match="a dict has no method predict: save an object that has one"):
        choose_method({}, "auto", WIDE)


@pytest.mark.parametrize("model", [classifier(), make_pipeline(StandardScaler(), LogisticRegression()).fit(X, LABELS)])
def test_a_fitted_model_that_takes_another_number_of_features_is_said(tmp_path: Path, model: Any) -> None:
    joblib.dump(model, tmp_path / "m.joblib")
    files = {"kind": "joblib", "model_file": "m.joblib"}
    with pytest.raises(
        ModelError, match=r"the model takes 2 features a row, and the input's shape says 3: write shape: \[-1, 2\]$"
    ):
        predictor(tmp_path, inputs=[("x", "float64", (3,))], outputs=[("y", "int64", (1,))], **files)
    for width in (2, -1):
        predict = predictor(tmp_path, inputs=[("x", "float64", (width,))], outputs=[("y", "int64", (1,))], **files)
        assert predict({"x": X}).tolist() == model.predict(X).tolist()


def test_a_joblib_model_gives_probabilities_or_labels(tmp_path: Path) -> None:
    joblib.dump(classifier(), tmp_path / "m.joblib")
    wide = predictor(tmp_path, outputs=[("y", "float32", (2,))], kind="joblib", model_file="m.joblib")
    label = predictor(tmp_path, outputs=[("y", "int64", (1,))], kind="joblib", model_file="m.joblib")
    assert wide({"x": X}) == pytest.approx(classifier().predict_proba(X))
    assert label({"x": X}).tolist() == [0, 0, 1, 1]


def test_the_configs_method_is_called(tmp_path: Path) -> None:
    joblib.dump(classifier(), tmp_path / "m.pkl")
    decide = predictor(tmp_path, kind="sklearn", model_file="m.pkl", method="decision_function")
    assert decide({"x": X}) == pytest.approx(classifier().decision_function(X))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


MULTIPLY = """
class Multiply:
    made = 0
    def __init__(self, factor):
        type(self).made += 1
        self.factor = factor
    def predict(self, X):
        return X * self.factor
"""


def test_a_class_is_built_once_with_its_kwargs(tmp_path: Path) -> None:
    write(tmp_path / "users_a" / "model.py", MULTIPLY)
    predict = predictor(tmp_path, kind="python", kwargs='{"factor": 3}', import_roots='["."]',
                        **{"class": "users_a.model:Multiply"})  # fmt: skip
    for _ in range(2):
        assert predict({"x": X}).tolist() == (X * 3).tolist()
    assert sys.modules["users_a.model"].Multiply.made == 1


def test_the_users_module_wins_over_one_that_is_on_the_path_already(tmp_path: Path) -> None:
    write(tmp_path / "other" / "users_model.py", "raise RuntimeError('the wrong one')")
    write(tmp_path / "1" / "users_model.py", MULTIPLY)
    sys.path.insert(0, str(tmp_path / "other"))
    predict = predictor(tmp_path / "1", kind="python", kwargs='{"factor": 2}', import_roots='["."]',
                        **{"class": "users_model:Multiply"})  # fmt: skip
    assert predict({"x": X}).tolist() == (X * 2).tolist()


def test_several_inputs_come_as_a_mapping(tmp_path: Path) -> None:
    write(tmp_path / "users_b.py", "class Sum:\n    def predict(self, X):\n        return X['a'] + X['b']\n")
    inputs = [("a", "float32", (2,)), ("b", "float32", (2,))]
    predict = predictor(tmp_path, inputs, kind="python", kwargs="{}", import_roots='["."]',
                        **{"class": "users_b:Sum"})  # fmt: skip
    assert predict({"a": X, "b": X * 10}).tolist() == (X * 11).tolist()


def test_a_function_is_called_as_predict_with_its_kwargs(tmp_path: Path) -> None:
    write(tmp_path / "users_f.py", "def scale(X, factor):\n    return X * factor\n")
    predict = predictor(
        tmp_path, kind="python", kwargs='{"factor": 3}', import_roots='["."]', **{"class": "users_f:scale"}
    )
    assert predict({"x": X}).tolist() == (X * 3).tolist()


@pytest.mark.parametrize(
    ("text", "kwargs", "message"),
    [
        (MULTIPLY, "{}", r"do not fit Multiply\(factor\): missing a required argument: 'factor'"),
        (MULTIPLY, '{"faktor": 3}', r"do not fit Multiply\(factor\): missing a required argument: 'factor'"),
        (MULTIPLY, '{"factor": 3, "b": 1}', r"do not fit Multiply\(factor\): got an unexpected keyword argument 'b'"),
        (
            "def Multiply(X, factor=1): return X",
            '{"b": 1}',
            r"do not fit Multiply\(X, factor\): got an unexpected keyword",
        ),
        ("def Multiply(X): return X", '{"X": 1}', r"do not fit Multiply\(X\): multiple values for argument 'X'"),
    ],
)
def test_kwargs_that_do_not_fit_are_named(tmp_path: Path, text: str, kwargs: str, message: str) -> None:
    write(tmp_path / "users_k.py", text)
    with pytest.raises(LoadError, match=r"model_args\.kwargs " + message):
        predictor(tmp_path, kind="python", kwargs=kwargs, import_roots='["."]', **{"class": "users_k:Multiply"})


def test_a_class_that_raises_a_type_error_itself_is_not_blamed_on_its_kwargs(tmp_path: Path) -> None:
    write(tmp_path / "users_k.py", "class C:\n    def __init__(self, n):\n        len(n)\n")
    with pytest.raises(TypeError, match="has no len"):
        predictor(tmp_path, kind="python", kwargs='{"n": 1}', import_roots='["."]', **{"class": "users_k:C"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class C:\n    pass\n", r"C has no method predict\(X\)"),
        ("import users_not_installed.sub\n",
         "the model needs users_not_installed, which is not installed in the model's environment: pip install users_"),
    ],
)  # fmt: skip
def test_a_class_that_cannot_serve_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "users_c.py", text)
    with pytest.raises(ModelError, match=message):
        predictor(tmp_path, kind="python", kwargs="{}", import_roots='["."]', **{"class": "users_c:C"})


@pytest.mark.parametrize(
    ("name", "package"), [("sklearn", "scikit-learn"), ("torch", "torch"), ("users_lib", "users_lib")]
)
def test_a_missing_library_is_named_as_pip_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    def load(path: Path, mmap_mode: str | None = None) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}.x'", name=f"{name}.x")

    (tmp_path / "m.pkl").touch()
    monkeypatch.setattr(joblib, "load", load)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ModelError) as caught:
        predictor(tmp_path, kind="joblib", model_file="m.pkl")
    assert str(caught.value) == (
        f"[schwift:load_error] the model needs {name}, which is not installed in the model's environment: "
        f"pip install {package}"
    )


def test_a_missing_library_is_for_the_requirements_of_an_environment_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "users_e.py", "import users_lib\n")
    write(tmp_path / "environment", "the-key\nnumpy==2.4.6\n")
    monkeypatch.setenv("SCHWIFT_ENVIRONMENT", "the-key")
    with pytest.raises(ModelError, match=r"in the model's environment: add users_lib to its requirements$"):
        predictor(tmp_path, kind="python", kwargs="{}", import_roots='["."]', **{"class": "users_e:C"})


@pytest.mark.parametrize("here", [None, "", "missing", "another-key", "the-ke"])
def test_a_model_with_an_environment_loads_in_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str | None
) -> None:
    write(tmp_path / "environment", "the-key\nnumpy==2.4.6\n")
    if here is None:
        monkeypatch.delenv("SCHWIFT_ENVIRONMENT", raising=False)
    else:
        monkeypatch.setenv("SCHWIFT_ENVIRONMENT", here)
    with pytest.raises(LoadError, match="the model needs an environment of its own, which is not here: `schwift env"):
        predictor(tmp_path, kind="joblib", model_file="m.joblib")


def test_a_model_of_schwifts_own_environment_loads_wherever_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a graph with strings does, in NVIDIA's image too, which tells nothing of environments."""
    joblib.dump(classifier(), tmp_path / "m.joblib")
    write(tmp_path / "environment", "schwift\n")
    monkeypatch.delenv("SCHWIFT_ENVIRONMENT", raising=False)
    assert predictor(tmp_path, kind="joblib", model_file="m.joblib")({"x": X}).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("there", "refused"), [("1.7.0", False), ("1.7.2", False), ("1.70.1", True), ("1.9.1", True), ("0.24.2", True)]
)
def test_a_pickle_of_another_release_than_is_here_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, refused: bool
) -> None:
    """Whichever way it came here: by a rollback, or with a repository that was built elsewhere."""
    joblib.dump(classifier(), tmp_path / "m.joblib")
    monkeypatch.setattr(loaders, "find_version", {"scikit-learn": there}.__getitem__)
    made_for = {"kind": "joblib", "model_file": "m.joblib", "made_for": '{"scikit-learn": "1.7"}'}
    if not refused:
        assert predictor(tmp_path, **made_for)({"x": X}).tolist() == [0, 0, 1, 1]
        return
    with pytest.raises(LoadError, match=f"the model was made for scikit-learn 1.7, and is served with {there}: build"):
        predictor(tmp_path, **made_for)


def test_a_model_without_one_does_not_load_where_that_for_all_models_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joblib.dump(classifier(), tmp_path / "m.joblib")
    monkeypatch.setenv("SCHWIFT_ENVIRONMENT", "missing")
    with pytest.raises(LoadError, match="the environment for models is not here, or does not start"):
        predictor(tmp_path, kind="joblib", model_file="m.joblib")
    monkeypatch.setenv("SCHWIFT_ENVIRONMENT", "")
    assert predictor(tmp_path, kind="joblib", model_file="m.joblib")({"x": X}).tolist() == [0, 0, 1, 1]


def test_without_joblib_a_plain_pickle_loads_and_what_joblib_wrote_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(classifier()))
    joblib.dump(classifier(), tmp_path / "m.joblib", compress=3)
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert predictor(tmp_path, kind="joblib", model_file="m.pkl")({"x": X}).tolist() == [0, 0, 1, 1]
    with pytest.raises(ImportError, match="joblib"):
        predictor(tmp_path, kind="joblib", model_file="m.joblib")


def test_a_name_that_an_installed_library_lacks_is_not_called_missing(tmp_path: Path) -> None:
    write(tmp_path / "users_d.py", "from numpy import users_name\n")
    with pytest.raises(ImportError, match="users_name") as caught:
        predictor(tmp_path, kind="python", kwargs="{}", import_roots='["."]', **{"class": "users_d:C"})
    assert not isinstance(caught.value, ModelError)


class Affine(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow torch
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 2 * x + y


# TorchScript is what the contract serves; torch would rather have us use torch.export.
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_torchscript_file_gets_its_inputs_in_the_configs_order(tmp_path: Path) -> None:
    torch.jit.script(Affine()).save(str(tmp_path / "m.pt"))
    inputs = [("x", "float32", (2,)), ("y", "float32", (2,))]
    predict = predictor(tmp_path, inputs, kind="torch", model_file="m.pt")
    first = X.astype(np.float32)
    # Triton's buffers are read-only.
    first.flags.writeable = False
    result = predict({"y": np.ones_like(first), "x": first})
    assert not result.requires_grad
    assert result.numpy().tolist() == (2 * X + 1).tolist()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_torchscript_model_runs_in_evaluation_mode(tmp_path: Path) -> None:
    dropout = torch.nn.Sequential(torch.nn.Dropout(0.999)).train()
    torch.jit.script(dropout).save(str(tmp_path / "m.pt"))
    predict = predictor(tmp_path, kind="torch", model_file="m.pt")
    assert predict({"x": np.ones((1, 50), np.float32)}).numpy().tolist() == [[1.0] * 50]


def test_the_import_roots_are_in_front_and_relative_to_the_version_folder(tmp_path: Path) -> None:
    write(tmp_path / "users_e.py", MULTIPLY)
    roots = json.dumps([".", "sub"])
    predictor(tmp_path, kind="python", kwargs='{"factor": 1}', import_roots=roots, **{"class": "users_e:Multiply"})
    assert sys.path[:2] == [str(tmp_path), str(tmp_path / "sub")]


_LOADED = """
import sys
from pathlib import Path
import numpy
from triton_repo_template.runtime.config import ModelConfig
from triton_repo_template.runtime.loaders import load_predictor

predict = load_predictor(Path(sys.argv[1]), ModelConfig.parse(sys.argv[2]))
answer = predict({"x": numpy.array([[0.0, 1.0]])})
print("pandas" in sys.modules, len(answer), numpy.argmax(answer))
"""


@pytest.mark.parametrize(("container", "there"), [("default", False), ("pandas", True)])
def test_pandas_is_loaded_for_models_that_use_it_alone(tmp_path: Path, container: str, there: bool) -> None:
    model = make_pipeline(StandardScaler().set_output(transform=container), classifier()).fit(X, LABELS)
    joblib.dump(model, tmp_path / "model.joblib")
    config = config_json([("x", "float64", (2,))], [("y", "float64", (2,))], kind="sklearn", model_file="model.joblib")
    command = [sys.executable, "-c", _LOADED, str(tmp_path), config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{there} 1 0\n"
