"""Where models run: by their config, by the serving environment, and by what a pickle was made with."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.base
from sklearn.linear_model import LogisticRegression

from converter.environments.environment_store import EnvironmentStore
from converter.environments.interpreter import own_interpreter
from converter.environments.pip_install import PipFailed
from converter.errors import ArtifactError, ConfigError, MissingLibrary
from converter.inspect import model_environments
from converter.inspect.inspector import ModelFacts
from converter.schema.model import PYTHONS
from tests.support.engines import write_engine
from tests.support.models.environments import inspect_whole
from tests.support.models.sample_models import add_source, model_yaml
from tests.support.models.wheels import add_wheel, ask_folder

CONFIG = "models/m/model_config.yaml"
OWN = own_interpreter().version
# The index has a later patch release of it alone.
OLD = "1.3.1"
CODE = b"import trees\n\n\nclass Model:\n    def predict(self, X):\n        return X\n"


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with an old scikit-learn, and one Python that has no wheels of it."""
    folder = ask_folder(tmp_path / "wheels", monkeypatch)
    for version in ("1.26.4", "2.1.0"):
        add_wheel(folder, "numpy", version)
    add_wheel(folder, "joblib", "1.4")
    add_wheel(folder, "trees", "1.0")
    for version in ("1.3.0", "1.3.2", "1.4.0"):
        add_wheel(folder, "scikit-learn", version, ["numpy<2"])
    monkeypatch.setattr(model_environments, "find_pythons", lambda: {OWN: Path(sys.executable)})
    return folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], bytes]:
    """The pickle of a model, as this version of scikit-learn writes it."""

    def write(version: str) -> bytes:
        fitted = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
        with monkeypatch.context() as patch:
            patch.setattr(sklearn.base, "__version__", version)
            # Only what any version has: the fake ones are one module each.
            return pickle.dumps(fitted, 0).replace(b"sklearn.linear_model._logistic", b"sklearn")

    return write


def facts_of(root: Path, content: bytes, settings: dict[str, Any] | None = None, **keys: Any) -> ModelFacts:
    arguments = {"model_file": "m.joblib"}
    config = model_yaml("sklearn", model_args=arguments, **keys)
    known = {"trust_imports": "sklearn:LogisticRegression, not_known.*", **(settings or {})}
    return inspect_whole(add_source(root / "models", "m", config, {"m.joblib": content}), root, **known)


def packages_of(facts: ModelFacts) -> tuple[str, ...]:
    assert facts.environment is not None
    return facts.environment.lock


def refusal_of(root: Path, content: bytes, settings: dict[str, Any] | None = None, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        facts_of(root, content, settings, **keys)
    (problem,) = caught.value.problems
    return problem


def test_a_pickle_of_another_release_has_an_environment_made_for_it(
    tmp_path: Path, model: Callable[[str], bytes]
) -> None:
    facts = facts_of(tmp_path, model(OLD))
    assert packages_of(facts) == ("joblib==1.4", "numpy==1.26.4", "scikit-learn==1.3.2")
    assert facts.made_for == {"scikit-learn": "1.3"}
    assert facts.notes == (
        f"m: made for scikit-learn {OLD}: served in an environment of its own (Python {OWN}, scikit-learn 1.3.2, numpy "
        "1.26.4)",
    )
    assert (tmp_path / "models" / "m" / "requirements.lock").is_file()
    # Found again, without an index.
    assert facts_of(tmp_path, model(OLD), {"environments": "off"}).environment == facts.environment


def test_no_python_is_taken_that_triton_does_not_run(tmp_path: Path, model: Callable[[str], bytes]) -> None:
    write_engine(tmp_path / "engine", "3.8")
    refused = refusal_of(tmp_path, model(OLD), {"engine": tmp_path / "engine"})
    assert "no environment was made for it: no Python of this machine is one that its Triton runs models un" in refused
    write_engine(tmp_path / "other", "3.8", OWN)
    assert packages_of(facts_of(tmp_path, model(OLD), {"engine": tmp_path / "other"}))


def test_the_very_release_is_taken_if_there_is_one(tmp_path: Path, model: Callable[[str], bytes]) -> None:
    assert "scikit-learn==1.3.0" in packages_of(facts_of(tmp_path, model("1.3.0")))


def test_its_lock_holds_where_the_environment_is_made_again(
    tmp_path: Path, model: Callable[[str], bytes], wheels: Path
) -> None:
    before = packages_of(facts_of(tmp_path, model(OLD)))
    add_wheel(wheels, "scikit-learn", "1.3.9", ["numpy<2"])
    (tmp_path / "cache").rename(tmp_path / "gone")
    assert packages_of(facts_of(tmp_path, model(OLD))) == before
    (tmp_path / "models" / "m" / "requirements.lock").unlink()
    (tmp_path / "cache").rename(tmp_path / "gone too")
    assert "scikit-learn==1.3.9" in packages_of(facts_of(tmp_path, model(OLD)))


@pytest.mark.parametrize("pins", ["joblib==1.4\nnumpy==1.26.4\nscikit-learn==1.4.0\n", "joblib==1.4\n"])
def test_a_lock_of_other_versions_than_made_the_pickle_is_refused(
    tmp_path: Path, model: Callable[[str], bytes], pins: str
) -> None:
    facts_of(tmp_path, model("1.3.2"))
    lock = tmp_path / "models" / "m" / "requirements.lock"
    header = "".join(line for line in lock.read_text().splitlines(keepends=True) if line.startswith("#"))
    lock.write_text(header + pins)
    assert refusal_of(tmp_path, model("1.3.2")) == (
        "m/requirements.lock: it does not have scikit-learn==1.3.2, which it is said to be of: remove it, and the "
        "build makes it anew"
    )


def test_the_newest_python_that_has_wheels_is_taken(
    tmp_path: Path, model: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    others = [version for version in PYTHONS if PYTHONS.index(version) > PYTHONS.index(OWN)]
    monkeypatch.setattr(model_environments, "find_pythons", lambda: dict.fromkeys(PYTHONS, Path(sys.executable)))
    build = EnvironmentStore.build

    def only_own(store: Any, lines: Any, python: tuple[str, Path], lock: Any, say: Any) -> Any:
        tried.append(python[0])
        if python[0] in others or "scikit-learn==1.3.1" in lines:
            raise PipFailed("versions", "no wheel")
        return build(store, lines, python, lock, say)

    monkeypatch.setattr(EnvironmentStore, "build", only_own)
    facts = facts_of(tmp_path, model(OLD))
    assert tried == [*PYTHONS[::-1], *others[::-1], OWN]
    assert facts.environment is not None and facts.environment.interpreter.version == OWN
    # An index that cannot be reached cannot be reached for another Python either.
    tried.clear()

    def unreachable(store: Any, lines: Any, python: tuple[str, Path], lock: Any, say: Any) -> Any:
        tried.append(python[0])
        raise PipFailed("network", "the index of packages cannot be reached")

    monkeypatch.setattr(EnvironmentStore, "build", unreachable)
    assert "the index of packages cannot be reached" in refusal_of(tmp_path, model("1.4.0"))
    assert tried == [PYTHONS[-1]]


def test_R30_what_cannot_be_made_is_refused_with_three_ways_out(
    tmp_path: Path, model: Callable[[str], bytes], wheels: Path
) -> None:
    here = own_interpreter().packages["scikit-learn"]
    ways = (
        'write `requirements: ["joblib", "scikit-learn==9.0.0"]` into the config, or convert the model to ONNX where '
        "it was trained, or write `accept_skew: true` to have it served as it is"
    )
    start = f"{CONFIG}: m.joblib was made for scikit-learn 9.0.0, and the serving environment has scikit-learn {here}"
    assert refusal_of(tmp_path, model("9.0.0")) == (
        f"{start}; no environment was made for it: Python {OWN}: the index has no wheel of scikit-learn~=9.0.0 for "
        f"this Python (the newest that there are: 1.3.0, 1.3.2, 1.4.0): {ways}"
    )
    off = "it is not there, and SCHWIFT_ENVIRONMENTS=off makes none: set it to on"
    assert refusal_of(tmp_path, model("9.0.0"), {"environments": "off"}) == (
        f"{start}; no environment was made for it: {off}: {ways}"
    )
    assert refusal_of(tmp_path, model("9.0.0"), environment="serving") == f"{start}: {ways}"
    unknown = model("9.0.0").replace(b"copy_reg", b"not_known")
    assert "which package has the module not_known is not known" in refusal_of(tmp_path, unknown)


def test_requirements_of_the_config_are_taken_as_they_are(tmp_path: Path, model: Callable[[str], bytes]) -> None:
    facts = facts_of(tmp_path, model(OLD), requirements=["scikit-learn==1.3.0"], python=OWN)
    assert packages_of(facts) == ("joblib==1.4", "numpy==1.26.4", "scikit-learn==1.3.0")
    assert facts.notes == ()
    problem = refusal_of(tmp_path, model(OLD), requirements=["scikit-learn==1.4.0"])
    assert "model.requirements bring scikit-learn 1.4.0: write `requirements: " in problem
    skewed = facts_of(tmp_path, model(OLD), requirements=["scikit-learn==1.4.0"], accept_skew=True)
    assert skewed.made_for == {}
    assert "scikit-learn==1.4.0" in packages_of(skewed)
    assert skewed.notes == (
        f"m: made for scikit-learn {OLD}, and served with scikit-learn 1.4.0 as accept_skew says: its answers may "
        "differ",
    )


def test_requirements_that_cannot_be_had_name_the_key(tmp_path: Path, model: Callable[[str], bytes]) -> None:
    assert refusal_of(tmp_path, model(OLD), requirements=["trees==7"]) == (
        f"{CONFIG}: model.requirements: Python {OWN}: the index has no wheel of trees==7 for this Python (the newest "
        f"that there are: 1.0): change it, or name another Python ({OWN})"
    )


def test_a_file_of_requirements_is_read_beside_the_config(tmp_path: Path) -> None:
    keys = {"requirements": "needs.txt", "model_args": {"class": "model:Model"}}
    files = {"model.py": CODE, "needs.txt": b"trees>=1  # what it imports\n"}
    source = add_source(tmp_path / "models", "m", model_yaml("python", **keys), files)
    facts = inspect_whole(source, tmp_path)
    assert facts.environment is not None and facts.environment.lock == ("numpy==2.1.0", "trees==1.0")
    typo = add_source(tmp_path / "models", "m", model_yaml("python", **{**keys, "requirements": "need.txt"}), files)
    with pytest.raises(ConfigError, match=r"need\.txt is not beside this file \(did you mean needs\.txt\?\)"):
        inspect_whole(typo, tmp_path)


def test_imports_are_looked_for_where_the_model_runs(tmp_path: Path) -> None:
    source = add_source(tmp_path / "models", "m", model_yaml("python", requirements=["joblib"]), {"model.py": CODE})
    with pytest.raises(MissingLibrary) as caught:
        inspect_whole(source, tmp_path)
    assert str(caught.value) == (
        "m/model.py:1: the model needs trees, which is not in its environment: add trees to model.requirements"
    )


def test_the_python_of_the_serving_environment_needs_no_other(tmp_path: Path, model: Callable[[str], bytes]) -> None:
    here = pickle.dumps({"a": 1})
    facts = facts_of(tmp_path, here, python=OWN)
    assert facts.environment is not None and facts.environment.key is None
    other = next(version for version in PYTHONS if version != OWN)
    with pytest.raises(ConfigError) as caught:
        facts_of(tmp_path, here, python=other)
    assert str(caught.value) == (
        f"{CONFIG}: model.python: there is no Python {other} here with venv and libpython, only {OWN}: install it "
        f"(apt-get install python{other}-venv libpython{other}, or pyenv install {other} with "
        "PYTHON_CONFIGURE_OPTS=--enable-shared), or name one of these"
    )


def test_a_python_alone_has_an_environment_of_what_the_pickle_names(
    tmp_path: Path, model: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    build = EnvironmentStore.build

    def note(store: Any, lines: Any, python: tuple[str, Path], lock: Any, say: Any) -> Any:
        asked.append(python[0])
        return build(store, lines, python, lock, say)

    other = next(version for version in PYTHONS if version != OWN)
    monkeypatch.setattr(model_environments, "find_pythons", lambda: {other: Path(sys.executable)})
    monkeypatch.setattr(EnvironmentStore, "build", note)
    facts = facts_of(tmp_path, model("1.3.2"), python=other)
    assert packages_of(facts) == ("joblib==1.4", "numpy==1.26.4", "scikit-learn==1.3.2")
    assert asked == [other]
    assert refusal_of(tmp_path, b"cnot_known\nModel\n.", python=other) == (
        f"{CONFIG}: model.python: which package has the module not_known is not known: name it in model.requirements"
    )


def test_a_named_serving_environment_is_what_pickles_are_compared_with(
    tmp_path: Path, model: Callable[[str], bytes]
) -> None:
    made = facts_of(tmp_path, model(OLD)).environment
    assert made is not None
    facts = facts_of(tmp_path, model("1.3.9"), {"model_env": made.interpreter.prefix})
    assert facts.environment is not None
    assert (facts.environment.key, facts.environment.interpreter.prefix) == (None, made.interpreter.prefix)
    source = add_source(tmp_path / "models", "m", model_yaml("python"), {"model.py": CODE})
    with pytest.raises(ArtifactError, match=r"trees, which is not installed in .*: install trees there"):
        inspect_whole(source, tmp_path, model_env=made.interpreter.prefix)
