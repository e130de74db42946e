"""Which packages a pickle was made with, by its own marks, and whether an environment has such."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from packaging.version import InvalidVersion, Version

from converter.environments.model_environment import ModelEnvironment
from converter.trust.pickle_reader import Contents

# Modules of models, and the packages that bring them. A pickle has only these installed unasked: anybody can register a
# package by the name of somebody else's private module.
PACKAGES: Mapping[str, str] = {
    "catboost": "catboost", "category_encoders": "category-encoders", "cloudpickle": "cloudpickle",
    "cv2": "opencv-python", "feature_engine": "feature-engine", "imblearn": "imbalanced-learn", "joblib": "joblib",
    "lightgbm": "lightgbm", "nltk": "nltk", "numba": "numba", "numpy": "numpy", "pandas": "pandas", "PIL": "pillow",
    "polars": "polars", "pyarrow": "pyarrow", "scipy": "scipy", "sklearn": "scikit-learn", "sklearn_pandas":
    "sklearn-pandas", "statsmodels": "statsmodels", "torch": "torch", "xgboost": "xgboost", "yaml": "pyyaml",
}  # fmt: skip
# The first scikit-learn whose metadata say which numpy it can be imported with.
_BOUNDED = Version("1.3.1")


class UnknownPackage(Exception):
    """A pickle names a module, and nobody knows which package has it."""


def describe_origin(contents: Contents) -> str:
    """Say what a pickle was made with: "scikit-learn 1.3.2 and numpy 2"."""
    newest = max(contents.sklearn, key=_parse, default=None)
    return " and ".join(
        [*([f"scikit-learn {newest}"] if newest else []), *(["numpy 2"] if needs_numpy_2(contents) else [])]
    )


def find_skew(contents: Contents, environment: ModelEnvironment) -> list[str]:
    """List what an environment has in another version than the pickle was made with; a patch release is none."""
    found = []
    there = environment.find_version("scikit-learn")
    if any(there is None or _minor(version) != _minor(there) for version in contents.sklearn):
        found.append(f"scikit-learn {there}" if there else "no scikit-learn")
    numpy = environment.find_version("numpy")
    if needs_numpy_2(contents) and (numpy is None or _parse(numpy) < Version("2.0.dev0")):
        found.append(f"numpy {numpy}")
    return found


def list_releases(contents: Contents) -> dict[str, str]:
    """List the release of each package that a pickle is right with alone: `1.7` of scikit-learn."""
    minors = {".".join(map(str, _minor(version))) for version in contents.sklearn}
    return {"scikit-learn": minors.pop()} if len(minors) == 1 else {}


def needs_numpy_2(contents: Contents) -> bool:
    """Tell whether numpy 2 wrote the arrays of a pickle."""
    return any(module.split(".")[:2] == ["numpy", "_core"] for module, _ in contents.names)


def name_requirements(contents: Contents, own: frozenset[str], exact: bool = True) -> tuple[str, ...]:
    """Name what a pickle needs: the scikit-learn that made it, and what else it imports.

    Without `exact` a later patch release will do, which reads nearly every file: gradient boosting of 1.3.0 fails in
    1.3.2. `own` are the modules beside the file. Raises UnknownPackage with the name of a module that is neither one of
    these nor of a well-known package.
    """
    lines = set(_name_pinned(contents, exact))
    for top in sorted({module.split(".")[0] for module, _ in contents.names} - own):
        # Some compiled modules of sklearn go by their last name alone.
        if top in sys.stdlib_module_names or top.startswith("_") or top in ("sklearn", "numpy"):
            continue
        if top not in PACKAGES:
            raise UnknownPackage(top)
        lines.add(PACKAGES[top])
    # What reads the file.
    return tuple(sorted({*lines, "joblib"}))


def _name_pinned(contents: Contents, exact: bool) -> Iterator[str]:
    made = max(map(_parse, contents.sklearn), default=None)
    if made is not None:
        minor = f"{made.major}.{made.minor}"
        # A release that was not out: all that came of it.
        later = f"scikit-learn=={minor}.*" if made.is_prerelease else f"scikit-learn~={minor}.{made.micro}"
        yield f"scikit-learn=={made.public}" if exact else later
    elif any(module.split(".")[0] == "sklearn" for module, _ in contents.names):
        yield "scikit-learn"
    if needs_numpy_2(contents):
        yield "numpy>=2"
    elif made is not None and made < _BOUNDED:
        yield "numpy<2"


def _minor(version: str) -> tuple[int, int]:
    parsed = _parse(version)
    return parsed.major, parsed.minor


def _parse(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")
