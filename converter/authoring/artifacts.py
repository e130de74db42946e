"""What a path names: which kind of model, by its content first and its ending second; nothing of it is loaded."""

from __future__ import annotations

import importlib.util
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from converter.errors import ArtifactError, ConfigError

Kind = Literal["pickle", "onnx", "torch", "lightgbm", "xgboost", "catboost", "skops", "mlflow", "python"]

_PICKLES = (
    ".joblib", ".pkl", ".pickle", ".p", ".sav", ".dill", ".cloudpickle", ".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4",
    ".zlib", ".model", ".bin",
)  # fmt: skip
_ELSEWHERE = {
    ".h5": "Keras", ".keras": "Keras", ".tflite": "TensorFlow", ".pb": "TensorFlow", ".pmml": "PMML",
    ".safetensors": "weights alone", ".mlmodel": "Core ML", ".rds": "R",
}  # fmt: skip
_DEFINITION = re.compile(r"(?P<where>.+):(?P<name>[A-Za-z_]\w*)")
_MOST_HEAD = 4096


@dataclass(frozen=True)
class Artifact:
    """A file, a folder (mlflow), or a class or function by its `name` in a module (python)."""

    kind: Kind
    path: Path
    name: str = ""

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f"{self.path.name}:{self.name}" if self.name else self.path.name

    def suggest_name(self) -> str:
        """Suggest what the model may be called."""
        stem = self.name.lower() if self.name else self.path.name
        while not self.name and (ending := Path(stem).suffix) and not ending[1:].isdigit():
            stem = stem.removesuffix(ending)
        return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "model"


def recognize(text: str) -> Artifact:
    """Say what a path, or `module:Name`, names. Raises ArtifactError and ConfigError with the remedy."""
    path = Path(text)
    if path.is_dir():
        return _recognize_folder(path)
    if path.is_file():
        return Artifact(_recognize_file(path), path.absolute())
    found = _DEFINITION.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"{text}: no such file: name a model's file, an MLflow folder, or module:Name of a Python class"
        )
    return Artifact("python", _find_module(found["where"], text), found["name"])


def _recognize_folder(path: Path) -> Artifact:
    if (path / "MLmodel").is_file():
        return Artifact("mlflow", path.absolute())
    if (path / "saved_model.pb").is_file():
        raise ArtifactError(f"{path}: a TensorFlow model: convert it to ONNX (python -m tf2onnx.convert --saved-model)")
    raise ArtifactError(f"{path}: a folder without an MLmodel, so no model of MLflow: name the model's file in it")


def _recognize_file(path: Path) -> Kind:
    with path.open("rb") as file:
        head = file.read(_MOST_HEAD)
    ending = path.suffix.lower()
    if not head:
        raise ArtifactError(f"{path}: the file is empty: write the model's file again")
    if head.startswith(b"version https://git-lfs"):
        raise ArtifactError(f"{path}: a pointer of Git LFS and not the model: run `git lfs pull`")
    if ending == ".py":
        raise ConfigError(f"{path}: name the class or function in it: {path}:ClassName")
    if ending in (".ipynb", ".csv", ".parquet", ".npy"):
        raise ConfigError(f"{path}: this is no model: name the file that the trained model was saved to")
    if ending in _ELSEWHERE:
        raise ArtifactError(
            f"{path}: {_ELSEWHERE[ending]} is not served: convert the model to ONNX where it was trained"
        )
    if zipfile.is_zipfile(path):
        return _recognize_archive(path)
    for start, kind in ((b"CBM1", "catboost"), (b"tree\n", "lightgbm"), (b"{L", "xgboost")):
        if head.startswith(start):
            return kind  # type: ignore[return-value]  # of the three above
    if b'"learner"' in head and head.lstrip().startswith(b"{"):
        return "xgboost"
    if ending == ".onnx":
        return "onnx"
    if ending in _PICKLES or head.startswith(b"\x80"):
        return "pickle"
    raise ArtifactError(
        f"{path}: not known as a model: pickles and joblib files, ONNX, TorchScript, LightGBM's text, XGBoost's JSON "
        "and UBJ, CatBoost's .cbm, skops and MLflow folders are"
    )


def _recognize_archive(path: Path) -> Kind:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "schema.json" in names:
        return "skops"
    if any(name.endswith(("/constants.pkl", "/data.pkl")) for name in names):
        return "torch"
    raise ArtifactError(f"{path}: an archive without a model that is served: name the model's file itself")


def _find_module(where: str, text: str) -> Path:
    if where.endswith(".py"):
        if not Path(where).is_file():
            raise ConfigError(f"{text}: there is no file {where}")
        return Path(where).absolute()
    # The current folder first, as for `python -m`.
    path = Path(*where.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.absolute()
    try:
        spec = importlib.util.find_spec(where) if "." not in where and where not in sys.builtin_module_names else None
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    raise ConfigError(
        f"{text}: there is no module {where} in the current folder: name its file, as in path/to/file.py:Name"
    )
