"""One model of the zoo: what it is, how it is made, and what `schwift new` is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

# The list of all that was made, beside their folders.
LISTED = "zoo.json"
# Makes the model's files in its own folder and returns the arguments of `schwift new`, the path first.
Make = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Specimen:
    """`served` is False for what cannot be, and is to be refused with what to do."""

    name: str
    kind: str
    make: Make
    served: bool = True


def dumped(fit: Callable[[], Any], file: str = "model.joblib", data: Any = None, compress: Any = 0) -> Make:
    """Make what joblib saves of a fitted model; `data` are rows as its user has them."""

    def make(folder: Path) -> list[str]:
        joblib.dump(fit(), folder / file, compress=compress)
        return [str(folder / file), *(write_rows(folder, data) if data is not None else [])]

    return make


def write_rows(folder: Path, rows: Any) -> list[str]:
    """Write the rows to a file and return the option that names it."""
    if hasattr(rows, "to_csv"):
        rows.to_csv(folder / "rows.csv", index=False)
        return ["--data", str(folder / "rows.csv")]
    values = rows.tolist() if hasattr(rows, "tolist") else rows
    (folder / "rows.json").write_text(json.dumps(values))
    return ["--data", str(folder / "rows.json")]


def written(files: dict[str, str], *arguments: str) -> Make:
    """Make text files; arguments that begin with `./` are paths in the model's folder."""

    def make(folder: Path) -> list[str]:
        for name, text in files.items():
            (folder / name).write_text(text)
        return [f"{folder}{each[1:]}" if each.startswith("./") else each for each in arguments]

    return make
