"""What people train in environments of other versions is let in: some hundreds of models, without a setting (A21)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from converter.trust.operator_trust import OperatorTrust
from converter.trust.scan import ALLOWED, scan_file
from tests.environments import venvs
from tests.support.models import honest_models

_BOOSTED = ("lightgbm", "xgboost", "statsmodels", "imbalanced-learn", "category_encoders", "lz4")
_OLD = (
    "scikit-learn==1.3.2",
    "numpy<2",
    "pandas<2",
    "xgboost<2",
    "category_encoders==2.6.3",
    "imbalanced-learn==0.11.0",
)
_LEAST = 180


def refused(python: Path, folder: Path) -> tuple[dict[str, str], int]:
    """What is not let in of the models that an environment makes, and how many it makes."""
    script = Path(honest_models.__file__).parent
    subprocess.run([str(python), "-I", "-B", str(script), str(folder)], check=True, timeout=300, capture_output=True)
    reports = {path.stem: scan_file(path, OperatorTrust()) for path in sorted(folder.iterdir())}
    return {name: report.reason for name, report in reports.items() if report.verdict != ALLOWED}, len(reports)


@pytest.mark.parametrize(
    ("version", "packages"),
    [
        pytest.param("3.13", ("scikit-learn", "numpy>=2", "pandas", *_BOOSTED), id="newest"),
        pytest.param("3.10", (*_OLD, "lightgbm==4.1.0", "statsmodels==0.14.0"), id="scikit-learn 1.3"),
    ],
)
def test_A21_models_of_an_environment_are_let_in(version: str, packages: tuple[str, ...], tmp_path: Path) -> None:
    prefix = venvs.make_venv(version, tmp_path / "venv", *packages)
    found, count = refused(prefix / "bin" / "python", tmp_path / "models")
    print(f"{count} models are let in")
    assert found == {}
    assert count >= _LEAST
