"""Which libraries a model needs that are not here, or in another version: told from names alone, nothing of it runs."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from converter.errors import ArtifactError, MissingLibrary
from converter.inspect import pickle_reader
from converter.inspect.discover import ModelSource

_BACKENDS = {"sklearn": "sklearn", "joblib": "joblib", "onnx": "onnxruntime", "torch": "torch"}
# What pip is told for packages that an extra of ours brings, or that are not called as they are imported.
_DISTRIBUTIONS = {
    "sklearn": "'schwift[sklearn]'",
    "joblib": "'schwift[sklearn]'",
    "onnxruntime": "'schwift[onnx]'",
    "numba": "'schwift[numba]'",
    "torch": "'schwift[torch]'",
    "cv2": "opencv-python",
    "PIL": "pillow",
}


def check_pickle(source: ModelSource, path: Path) -> tuple[str, ...]:
    """Return notes on versions that differ. Raises ArtifactError if the file is damaged, or cannot be loaded here."""
    where = f"{source.config}: {path.name}"
    try:
        contents = pickle_reader.read(path)
    except pickle_reader.TooLarge as error:
        raise ArtifactError(
            f"{where} inflates to more than {error} bytes, which is the most for a file of its size: save the model "
            "uncompressed"
        ) from error
    except pickle_reader.DamagedPickle as error:
        raise ArtifactError(f"{where} is damaged, or not a pickle: write the model's file again") from error
    written = ", ".join(sorted(contents.sklearn))
    for module, name in sorted(contents.names):
        if module == "__main__":
            raise ArtifactError(
                f"{where} needs {name} of the script that saved it: put it into a module beside the file, import it "
                "from there, and save the model again"
            )
        # Some compiled modules of sklearn go by their last name alone.
        if _is_missing(source, module) and not module.startswith("_"):
            raise MissingLibrary(f"{where} needs {_suggest_install(module)}")
        if module.startswith("sklearn.") and not _has_module(module):
            raise ArtifactError(
                f"{where} was saved by scikit-learn {written or 'of another version'} and needs {module}, which "
                f"{_find_version('scikit-learn')} here does not have: install that version, or save the model anew"
            )
    return tuple(_compare_versions(where, contents))


def check_backend(source: ModelSource) -> None:
    """Raise MissingLibrary if what the model's backend imports is not here."""
    library = _BACKENDS.get(source.spec.backend)
    if library is not None and importlib.util.find_spec(library) is None:
        raise MissingLibrary(f"{source.config}: the model needs {_suggest_install(library)}")


def check_imports(source: ModelSource, relative: str, package: str) -> None:
    """Raise MissingLibrary if a module of the model, or one of its own that it imports, imports what is not here."""
    pending, seen = [relative], {relative}
    while pending:
        name = pending.pop()
        for line, module in _list_imports((source.folder / name).read_bytes()):
            own = _find_own_files(source, module, package)
            if not own and _is_missing(source, module):
                raise MissingLibrary(f"{source.folder.name}/{name}:{line}: the model needs {_suggest_install(module)}")
            pending += [file for file in own if file not in seen]
            seen.update(own)


def _compare_versions(where: str, contents: pickle_reader.Contents) -> Iterator[str]:
    here = _find_version("scikit-learn")
    for written in sorted(contents.sklearn):
        if here is not None and written.split(".")[:2] != here.split(".")[:2]:
            yield (
                f"{where} was saved by scikit-learn {written}, and {here} is here: its answers may differ, or it may "
                f"not load: save the model anew, or pip install scikit-learn=={written}"
            )
    numpy = _find_version("numpy")
    newer = any(module.startswith("numpy._core") for module, _ in contents.names)
    if newer and numpy is not None and numpy.startswith("1."):
        yield (
            f"{where} was saved with numpy 2 or newer, and {numpy} is here, which this Triton needs: it may not load: "
            "save the model anew with numpy<2"
        )


def _list_imports(code: bytes) -> Iterator[tuple[int, str]]:
    """List line and name of what a module imports at its top; what is within `try` or `if` may be meant to fail."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        # find_package says that of the class's module, with its line.
        return
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def _find_own_files(source: ModelSource, module: str, package: str) -> list[str]:
    """Find the files of the model's folder that a module's name means."""
    parts = module.split(".")
    if parts[:2] == [package, source.folder.name]:
        parts = parts[2:]
    stem = "/".join(parts)
    return [name for name in (f"{stem}.py", f"{stem}/__init__.py") if name in source.files]


def _is_missing(source: ModelSource, module: str) -> bool:
    top = module.split(".")[0]
    if top in (source.models_name, "models") or any(name.split("/")[0] in (top, f"{top}.py") for name in source.files):
        return False
    try:
        return importlib.util.find_spec(top) is None
    except (ImportError, ValueError):
        return False


def _has_module(module: str) -> bool:
    """Tell whether a module's file is there, without importing what is above it."""
    top, *below = module.split(".")
    spec = importlib.util.find_spec(top)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        path = folder.joinpath(*below)
        if path.is_dir() or any(path.parent.glob(f"{path.name}.*")):
            return True
    return not folders


def _suggest_install(module: str) -> str:
    top = module.split(".")[0]
    return f"{top}, which is not installed: pip install {_DISTRIBUTIONS.get(top, top)}"


def _find_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
