"""Pickles of boosters in a user's environment: `schwift convert` to ONNX and to own files, and a server of these."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.environments import venvs
from tests.support.servers.server import Server, environment, serving

_TRAIN = """
import sys
import catboost, joblib, lightgbm, numpy, pandas, xgboost
from sklearn.datasets import load_iris

folder = sys.argv[1] + "/"
X, y = load_iris(return_X_y=True)
X[numpy.random.default_rng(0).random(X.shape) < 0.1] = numpy.nan
named = pandas.DataFrame(X, columns=["sl", "sw", "pl", "pw"])
light = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1)
joblib.dump(light.fit(X, y > 0), folder + "light.joblib")
joblib.dump(light.fit(named, load_iris().target_names[y]), folder + "light_named.joblib")
joblib.dump(xgboost.XGBClassifier(n_estimators=5).fit(X, y > 0), folder + "extreme.joblib")
cat = catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False)
joblib.dump(cat.fit(X, y > 0), folder + "cat.joblib")
"""
# Each pickle with what it is converted to.
WANTED = (("light", "onnx"), ("light_named", "native"), ("extreme", "native"), ("cat", "native"))


@pytest.fixture(scope="module")
def served(settings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of them, converted and served with an environment of another Python than ours."""
    folder = tmp_path_factory.mktemp("converted")
    packages = ("scikit-learn", "pandas", "lightgbm", "xgboost-cpu", "catboost", "onnxruntime")
    prefix = venvs.make_venv("3.12", folder / "venv", *packages)
    venvs.run(prefix, "-W", "ignore", "-c", _TRAIN, str(folder))
    variables = {**settings, "SCHWIFT_MODEL_ENV": str(prefix)}
    for name, target in WANTED:
        model = f"{name}_{target}"
        _run(folder, variables, "new", str(folder / f"{name}.joblib"), "--name", model)
        said = _run(folder, variables, "convert", model, "--to", target)
        assert " labels changed, " in said or " rows, largest difference" in said, said
    with serving(folder / "models", folder, "--env", str(prefix), **settings) as server:
        yield server


def _run(folder: Path, variables: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "schwift", *arguments, "--models", str(folder / "models")]
    done = subprocess.run(command, env=environment(folder, variables), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "target"), WANTED)
def test_a_converted_booster_answers_as_its_pickle_did(served: Server, name: str, target: str) -> None:
    model = f"{name}_{target}"
    folder = served.repository.parent / "models" / model
    sample = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    response = served.post("predict", model, sample["features"])
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["predictions"], sample["predictions"], rtol=1e-5, atol=1e-7)
    assert "schwift convert" in (folder / "model_config.yaml").read_text(encoding="utf-8").splitlines()[0]
