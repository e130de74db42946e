"""A dry run imports of a model's libraries what is imported where the model is served; each case is a new process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from converter.authoring.fitted_model import examine_all
from converter.environments.interpreter import own_interpreter
from converter.repository.runtime_files import LIBRARIES
from tests.support.servers.server import ROOT

_COLUMNS = [{"name": name, "dtype": "float32", "wire": "float32", "nullable": False} for name in ("a", "b")]
_FORMS = {
    "matrix": {"form": "matrix", "width": 2, "dtype": "float32", "wire": "float32", "nullable": False},
    "columns": {"form": "columns", "columns": _COLUMNS, "several": False},
}
_PROGRAM = """
import json, sys
from converter.authoring.object_probe.dry_run import try_model
said = try_model(json.loads(sys.argv[1]))
imported = [name for name in ("pandas", "scipy.stats._stats_py") if name in sys.modules]
import scipy.stats
print(json.dumps([said, imported, scipy.stats.rankdata([30, 10]).tolist()]))
"""


def make_request(path: Path, form: str) -> dict[str, Any]:
    return {
        "kind": "pickle", "path": str(path), "form": _FORMS[form], "method": "predict", "wide": False,
        "rows": [[0.0, 0.0], [1.0, 0.0]], "load_seconds": 60, "seconds": 60, "together": True, "made_up": True,
    }  # fmt: skip


def try_one(path: Path, form: str, **more: Any) -> Any:
    request = {**make_request(path, form), **more}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(request)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    fitted = LogisticRegression().fit(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 0, 1, 1])
    joblib.dump(fitted, tmp_path / "model.pkl")
    return tmp_path / "model.pkl"


@pytest.mark.parametrize(("form", "imported"), [("matrix", []), ("columns", ["pandas"])])
def test_a_dry_run_imports_what_is_imported_where_the_model_is_served(
    model: Path, form: str, imported: list[str]
) -> None:
    said, found, ranks = try_one(model, form, libraries=str(LIBRARIES), imports=["sklearn"])
    assert said["answers"] == [[[0]], [[1]]]
    assert found == imported and ranks == [2, 1]


def test_what_answers_are_compared_with_is_imported_in_full(model: Path) -> None:
    said, found, _ = try_one(model, "matrix")
    assert said["answers"] == [[[0]], [[1]]] and found == ["pandas", "scipy.stats._stats_py"]


def test_a_library_that_cannot_be_imported_ahead_changes_nothing(model: Path) -> None:
    said, _, _ = try_one(model, "matrix", libraries=str(LIBRARIES), imports=["no_such_library"])
    assert said["answers"] == [[[0]], [[1]]]


def test_a_model_of_columns_comes_after_one_that_was_imported_without_pandas(model: Path) -> None:
    requests = [
        {**make_request(model, form), "task": "check", "libraries": str(LIBRARIES), "imports": ["sklearn"]}
        for form in ("matrix", "columns")
    ]
    first, second = examine_all(own_interpreter(), requests)
    assert first["answers"] == second["answers"] == [[[0]], [[1]]]
