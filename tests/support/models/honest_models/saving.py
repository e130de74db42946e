"""Each model saved in one of the ways that people use."""

# Most of the libraries are not where types are checked.
# mypy: ignore-errors

import gzip
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib

from .library_kinds import boosted_models, more_models, pandas_models, statistical_models
from .samples import Make
from .sklearn_kinds import sklearn_models


def list_all() -> Iterator[tuple[str, Make]]:
    """Yield what can be made in this environment."""
    for kinds in (sklearn_models, pandas_models, boosted_models, statistical_models, more_models):
        try:
            yield from kinds().items()
        except ImportError:
            continue


def main(folder: Path) -> None:
    """Save each, in one of the ways that people use, and say what could not be made."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, make) in enumerate(list_all()):
        try:
            model = make()
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            continue
        save(model, folder / f"{name}.joblib", number)


def save(model: Any, path: Path, number: int) -> None:
    """Save as joblib does, compressed or not, or as pickle does, by protocols 2 to 5."""
    way = number % 6
    if way == 3:
        path.write_bytes(pickle.dumps(model, 2 + number // 6 % 4))
    elif way == 4:
        path.write_bytes(gzip.compress(pickle.dumps(model)))
    else:
        joblib.dump(model, path, compress=(0, 3, ("xz", 1), 0, 0, 0)[way])
