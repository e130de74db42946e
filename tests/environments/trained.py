"""What train.py trained in some environment, as models to serve, and what must be answered."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("logistic", "pipeline", "forest", "boosting", "text")
_TRAIN = Path(__file__).with_name("train.py")


@dataclass(frozen=True)
class Trained:
    """A model that is served as `name`; `predictions` are the original's own answers to `features`."""

    name: str
    features: list[list[Any]]
    predictions: list[list[float]]


def train(prefix: Path, folder: Path) -> Path:
    """Train the models of KINDS in an environment; return their folder."""
    command = [str(prefix / "bin" / "python"), "-I", "-B", str(_TRAIN), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def write_models(trained: Path, models: Path, prefix: str, more: str = "") -> list[Trained]:
    """Write what `train` made as models called `<prefix>_<kind>`; `more` are lines of each model's config."""
    made = []
    for kind in KINDS:
        name = f"{prefix}_{kind}"
        shutil.copytree(trained / kind, models / name)
        said = json.loads((models / name / "answers.json").read_text(encoding="utf-8"))
        (models / name / "answers.json").unlink()
        takes = "[-1, 1], dtype: string" if kind == "text" else "[-1, 4], dtype: float64"
        gives = 2 if kind == "text" else 3
        (models / name / "model_config.yaml").write_text(
            f"model:\n  name: {name}\n  backend: sklearn\n  model_args: {{model_file: model.joblib}}\n"
            f"  input: {{type: array, shape: {takes}}}\n"
            f"  output: {{type: array, shape: [-1, {gives}], dtype: float64}}\n{more}",
            encoding="utf-8",
        )
        made.append(Trained(name, said["features"], said["predictions"]))
    return made
