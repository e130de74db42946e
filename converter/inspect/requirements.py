"""Which libraries a model needs that its environment lacks: told from names alone, nothing of it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from converter.environments.interpreter import own_interpreter
from converter.environments.model_environment import ModelEnvironment
from converter.errors import ArtifactError, MissingLibrary
from converter.inspect.discover import ModelSource
from converter.inspect.model_folder import tell_kind
from converter.inspect.pickle_versions import PACKAGES
from converter.trust import pickle_reader

_BACKENDS = {"sklearn": "sklearn", "joblib": "joblib", "onnx": "onnxruntime", "torch": "torch"}
# What schwift's own extras bring.
_EXTRAS = {
    "sklearn": "'schwift[sklearn]'",
    "joblib": "'schwift[sklearn]'",
    "pandas": "'schwift[sklearn]'",
    "onnxruntime": "'schwift[onnx]'",
    "numba": "'schwift[numba]'",
    "torch": "'schwift[torch]'",
}


def read_pickle(source: ModelSource, path: Path) -> pickle_reader.Contents:
    """Read what a pickle names. Raises ArtifactError if the file is damaged, or can be loaded nowhere."""
    where = f"{source.config}: {path.name}"
    kind = tell_kind(path)
    if kind and "pickle" not in kind:
        raise ArtifactError(f"{where} is {kind}")
    try:
        contents = pickle_reader.read(path)
    except pickle_reader.TooLarge as error:
        raise ArtifactError(
            f"{where} inflates to more than {error} bytes, which is the most for a file of its size: save the model "
            "uncompressed"
        ) from error
    except pickle_reader.DamagedPickle as error:
        raise ArtifactError(f"{where} is damaged, or not a pickle: write the model's file again") from error
    for module, name in sorted(contents.names):
        if module == "__main__":
            raise ArtifactError(
                f"{where} needs {name} of the script that saved it: put it into a module beside the file, import it "
                "from there, and save the model again"
            )
    return contents


def check_pickle(source: ModelSource, contents: pickle_reader.Contents) -> None:
    """Raise ArtifactError if the model's environment lacks what a pickle names."""
    where = f"{source.config}: {source.spec.model_args.model_file}"
    environment = _find_environment(source)
    for module, _ in sorted(contents.names):
        # Some compiled modules of sklearn go by their last name alone.
        if _is_missing(source, module) and not module.startswith("_"):
            raise MissingLibrary(f"{where} needs {_suggest_install(source, module)}")
        if module.startswith("sklearn.") and not environment.interpreter.has_module(module):
            written = ", ".join(sorted(contents.sklearn))
            raise ArtifactError(
                f"{where} was saved by scikit-learn {written or 'of another version'} and needs {module}, which "
                f"{environment.find_version('scikit-learn')} does not have: name that version in model.requirements, "
                "or save the model anew"
            )


def check_backend(source: ModelSource) -> None:
    """Raise MissingLibrary if what the model's backend imports is not in the model's environment."""
    library = _BACKENDS.get(source.spec.backend)
    # Graphs are read, and run, by schwift's own ONNX Runtime.
    modules = (own_interpreter() if library == "onnxruntime" else _find_environment(source).interpreter).modules
    if library is not None and library not in modules:
        raise MissingLibrary(f"{source.config}: the model needs {_suggest_install(source, library)}")


def check_columns(source: ModelSource) -> None:
    """Raise MissingLibrary if an input has columns, and the model's environment has no pandas to make them of."""
    if source.spec.input[0].columns and _is_missing(source, "pandas"):
        raise MissingLibrary(f"{source.config}: model.input.columns: they need {_suggest_install(source, 'pandas')}")


def check_imports(source: ModelSource, relative: str, package: str) -> None:
    """Raise MissingLibrary if a module of the model, or one of its own that it imports, imports what is not here."""
    pending, seen = [relative], {relative}
    while pending:
        name = pending.pop()
        for line, module in _list_imports((source.folder / name).read_bytes()):
            own = _find_own_files(source, module, package)
            if not own and _is_missing(source, module):
                raise MissingLibrary(
                    f"{source.folder.name}/{name}:{line}: the model needs {_suggest_install(source, module)}"
                )
            pending += [file for file in own if file not in seen]
            seen.update(own)


def list_own_modules(source: ModelSource) -> frozenset[str]:
    """List the top-level modules that come along in the repository."""
    beside = {name.split("/")[0].removesuffix(".py") for name in source.files}
    return frozenset({source.models_name, "models", *beside})


def _find_environment(source: ModelSource) -> ModelEnvironment:
    return source.environment or ModelEnvironment(own_interpreter())


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
    return top not in list_own_modules(source) and top not in _find_environment(source).interpreter.modules


def _suggest_install(source: ModelSource, module: str) -> str:
    top = module.split(".")[0]
    environment = _find_environment(source)
    package = PACKAGES.get(top, top)
    if environment.key is not None:
        return f"{top}, which is not in its environment: add {package} to model.requirements"
    if environment.interpreter.prefix != own_interpreter().prefix and top != "onnxruntime":
        return f"{top}, which is not installed in {environment.interpreter.prefix}: install {package} there"
    return f"{top}, which is not installed: pip install {_EXTRAS.get(top, package)}"
