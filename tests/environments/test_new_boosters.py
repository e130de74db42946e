"""Native boosters, skops and cloudpickle in a user's environment: `schwift new`, a server, the original's answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from tests.environments import venvs
from tests.support.servers.server import Server, environment, serving

_TRAIN = """
import sys
import catboost, cloudpickle, lightgbm, pandas, skops.io, xgboost
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder = sys.argv[1] + "/"
X, y = load_iris(return_X_y=True)
named = pandas.DataFrame(X, columns=["sl", "sw", "pl", "pw"])
lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(named, y).booster_.save_model(folder + "light.txt")
xgboost.XGBClassifier(n_estimators=5).fit(X, y).save_model(folder + "extreme.json")
xgboost.XGBRegressor(n_estimators=5).fit(named, y).save_model(folder + "extreme_named.ubj")
catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(X, y).save_model(folder + "cat.cbm")
catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False).fit(X, y).save_model(folder + "cats.cbm")
pipeline = make_pipeline(StandardScaler(), LogisticRegression())
skops.io.dump(pipeline.fit(named, y), folder + "safe.skops")
with open(folder + "cloudy.pkl", "wb") as file:
    cloudpickle.dump(pipeline.fit(X, y), file)
"""
# The backend of each, and how many values a row of its answer has.
WANTED = {
    "light.txt": ("python", 3),
    "extreme.json": ("python", 3),
    "extreme_named.ubj": ("python", 1),
    "cat.cbm": ("python", 3),
    "cats.cbm": ("python", 1),
    "safe.skops": ("python", 3),
    "cloudy.pkl": ("sklearn", 3),
}


@pytest.fixture(scope="module")
def served(settings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of them, written and served from an environment of another Python than ours."""
    folder = tmp_path_factory.mktemp("boosters")
    packages = ("scikit-learn", "pandas", "lightgbm", "xgboost-cpu", "catboost", "skops", "cloudpickle")
    prefix = venvs.make_venv("3.12", folder / "venv", *packages)
    venvs.run(prefix, "-W", "ignore", "-c", _TRAIN, str(folder))
    variables = {**settings, "SCHWIFT_MODEL_ENV": str(prefix)}
    for name in WANTED:
        command = [sys.executable, "-m", "schwift", "new", str(folder / name), "--models", str(folder / "models")]
        done = subprocess.run(command, env=environment(folder, variables), capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    with serving(folder / "models", folder, "--env", str(prefix), **settings) as server:
        yield server


@pytest.mark.parametrize("file", WANTED)
def test_a_model_of_another_library_answers_as_the_original(served: Server, file: str) -> None:
    backend, width = WANTED[file]
    name = file.partition(".")[0]
    folder = served.repository.parent / "models" / name
    assert f"  backend: {backend} " in (folder / "model_config.yaml").read_text(encoding="utf-8")
    sample = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    response = served.post("predict", name, sample["features"])
    assert response.status_code == 200, response.text
    answers, wanted = np.array(response.json()["predictions"]), np.array(sample["predictions"])
    assert answers.shape == wanted.shape == (32, width)
    np.testing.assert_allclose(answers, wanted, rtol=1e-5, atol=1e-7)
    # The classes, or for a regressor values, differ.
    assert len(set(wanted.argmax(axis=1).tolist() if width > 1 else wanted.ravel().tolist())) >= 2
