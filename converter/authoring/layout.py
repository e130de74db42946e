"""An artefact → the files of a model's folder, and how they are loaded: as a backend does, or by a small class."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.authoring import wrappers
from converter.authoring.artifacts import Artifact
from converter.authoring.mlflow_folder import MlflowFolder, read_mlflow
from converter.environments.requirement_lines import read_requirements
from converter.errors import ConfigError
from converter.inspect import external_data
from converter.trust import pickle_reader

_MODULE = "model"
# Module of the wrapper, its class, the library it imports, and what the file is.
_WRAPPERS = {
    "lightgbm": ("lightgbm_booster", "LightGBMBooster", "lightgbm", "a LightGBM booster"),
    "xgboost": ("xgboost_booster", "XGBoostBooster", "xgboost", "an XGBoost booster"),
    "catboost": ("catboost_file", "CatBoostFile", "catboost", "a CatBoost model"),
    "skops": ("skops_file", "SkopsFile", "skops", "a skops file"),
    "mlflow": ("mlflow_model", "MLflowModel", "mlflow", "an MLflow model of the flavour python_function"),
}


@dataclass(frozen=True)
class Layout:
    """`args` are the config's model_args and `request` asks the model what it is; `libraries` is what it imports.

    `origin` says what it is; `requirements` are those that came along. `form`, `method`, `example`
    and the `trusted` types of skops are an MLflow folder's.
    """

    backend: str
    args: dict[str, Any]
    request: dict[str, Any]
    origin: str
    libraries: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    form: dict[str, Any] | None = None
    method: str | None = None
    example: Path | None = None
    trusted: tuple[str, ...] = ()


def lay_out(artifact: Artifact, folder: Path) -> Layout:
    """Copy what a model needs into its folder. Raises ConfigError and ArtifactError."""
    if artifact.kind == "mlflow":
        return _lay_out_mlflow(read_mlflow(artifact), folder)
    if artifact.kind == "python":
        return _lay_out_python(artifact, folder)
    if artifact.kind in _WRAPPERS:
        name = artifact.path.name
        shutil.copy2(artifact.path, folder / name)
        return _wrap(artifact.kind, folder, {"file": name})
    return _lay_out_file(artifact, folder)


def add_kwargs(layout: Layout, text: str) -> None:
    """Give a Python class its arguments, which are written as JSON. Raises ConfigError."""
    try:
        kwargs = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--kwargs: no JSON: {error}: write it as in '{{\"factor\": 2}}'") from error
    if layout.backend != "python" or not isinstance(kwargs, dict):
        raise ConfigError("--kwargs: these are the arguments by name of a Python class or function")
    # Both hold the one mapping.
    layout.args["kwargs"].update(kwargs)


def _lay_out_file(artifact: Artifact, folder: Path) -> Layout:
    """Copy a file that a backend loads, under a name that it takes."""
    kind, path = artifact.kind, artifact.path
    endings = {"pickle": (".joblib", ".pkl"), "onnx": (".onnx",), "torch": (".pt", ".pth")}[kind]
    name = path.name if path.suffix.lower() in endings else path.name.split(".")[0] + endings[0]
    target = folder / name
    shutil.copy2(path, target)
    args = {"model_file": name}
    roots = [str(folder), str(folder.parent.parent)]
    if kind == "pickle":
        _copy_modules(_list_pickled(path), path.parent, folder)
        return Layout("sklearn", args, {"kind": "pickle", "path": str(target), "roots": roots}, "a pickle")
    if kind == "onnx":
        for location in external_data.find_locations(path):
            if (path.parent / location).is_file() and Path(location).name == location:
                shutil.copy2(path.parent / location, folder / location)
        return Layout("onnx", args, {"kind": "onnx", "path": str(target)}, "an ONNX graph")
    return Layout("torch", args, {"kind": "torchscript", "path": str(target)}, "TorchScript", ("torch",))


def _lay_out_python(artifact: Artifact, folder: Path) -> Layout:
    path = artifact.path
    if path.name == "__init__.py":
        module = path.parent.name
        shutil.copytree(path.parent, folder / module, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        module = path.stem
        if not module.isidentifier():
            raise ConfigError(f"{path.name}: no name that Python can import: rename the file")
        _copy_modules([module], path.parent, folder)
    named = f"{module}:{artifact.name}"
    return _load_python(folder, named, {}, "a Python class or function", ())


def _lay_out_mlflow(found: MlflowFolder, folder: Path) -> Layout:
    if found.artifact.kind != "mlflow":
        inner = lay_out(found.artifact, folder)
        method = found.method if found.flavor == "sklearn" else None
        origin = f"{inner.origin}, of the MLflow flavour {found.flavor}"
        return Layout(
            inner.backend,
            inner.args,
            inner.request,
            origin,
            inner.libraries,
            (),
            None,
            method,
            found.example,
            found.trusted if found.artifact.kind == "skops" else (),
        )
    path = found.artifact.path
    shutil.copytree(path, folder / "mlflow", ignore=shutil.ignore_patterns("__pycache__"))
    listed = path / "requirements.txt"
    requirements = read_requirements(listed, f"{path.name}/requirements.txt") if listed.is_file() else ("mlflow",)
    layout = _wrap("mlflow", folder, {"folder": "mlflow"})
    return Layout(
        layout.backend, layout.args, layout.request, layout.origin, layout.libraries, requirements, found.form,
        example=found.example,
    )  # fmt: skip


def _wrap(kind: str, folder: Path, kwargs: dict[str, Any]) -> Layout:
    module, name, library, origin = _WRAPPERS[kind]
    shutil.copyfile(Path(wrappers.__file__).with_name(f"{module}.py"), folder / f"{_MODULE}.py")
    return _load_python(folder, f"{_MODULE}:{name}", kwargs, origin, (library,))


def _load_python(folder: Path, named: str, kwargs: dict[str, Any], origin: str, libraries: tuple[str, ...]) -> Layout:
    roots = [str(folder), str(folder.parent.parent)]
    request = {"kind": "python", "class": named, "kwargs": kwargs, "roots": roots}
    return Layout("python", {"class": named, "kwargs": kwargs}, request, origin, libraries)


def _list_pickled(path: Path) -> list[str]:
    """List the modules that a pickle names; what is wrong with it is for the inspection to say."""
    try:
        return sorted({module.split(".")[0] for module, _ in pickle_reader.read(path).names})
    except (pickle_reader.DamagedPickle, pickle_reader.TooLarge):
        return []


def _copy_modules(names: Iterable[str], beside: Path, folder: Path) -> None:
    """Copy the modules of these names that lie beside a file, and those beside it that they import."""
    pending = list(names)
    while pending:
        name = pending.pop()
        file, package = beside / f"{name}.py", beside / name
        if (folder / f"{name}.py").exists() or (folder / name).exists():
            continue
        if file.is_file():
            shutil.copy2(file, folder / file.name)
            pending += _list_imported(file)
        elif (package / "__init__.py").is_file():
            shutil.copytree(package, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def _list_imported(file: Path) -> list[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module.split(".")[0])
    return found
