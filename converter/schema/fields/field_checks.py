"""Checks of single values of a model's config, and how they say what is wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from converter.schema import dtypes
from converter.schema.requirement import check_requirement

# The Pythons that Triton has a stub for, and we take.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# What the build writes beside a model, of the packages that an environment was made of.
LOCK_NAME = "requirements.lock"
# With the name that it has while it is written; neither is a file of the model.
LOCK_FILES = (LOCK_NAME, f"{LOCK_NAME}.new")
# A model's name becomes a folder, a URL segment and a metric label.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
# numpy's own bound, the axis of the rows included.
_MOST_AXES = 32


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean x?)`, or nothing if no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


class MisplacedError(ValueError):
    """A problem that a whole model shows, at the key below it that the user has to change."""

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def one_of(value: Any, known: Iterable[str]) -> Any:
    """Check that a value is a known word. Raises ValueError with the nearest one."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}{nearest(str(value), known)}")
    return value


def known_dtype(value: Any) -> str:
    """Return the dtype that a user's name means."""
    one_of(value, dtypes.NAMES)
    return dtypes.by_name(value).name


def whole_numbers(value: Any) -> Any:
    """Check that the sizes of a shape are whole numbers, and not too many."""
    for size in value if isinstance(value, list | tuple) else ():
        if isinstance(size, bool | float):
            raise ValueError(f"{size!r} is not a size: an axis is a whole number, -1 for any")
    if isinstance(value, list | tuple) and len(value) > _MOST_AXES:
        raise ValueError(f"{len(value)} axes: a tensor has at most {_MOST_AXES}")
    return value


def batch_first(value: tuple[int, ...]) -> tuple[int, ...]:
    """Check that a shape begins with the free axis of the rows."""
    if not value or value[0] != -1:
        wanted = [-1, *(value[1:] if len(value) > 1 else value)]
        raise ValueError(
            f"the first axis is the batch and must be -1: write {wanted}, "
            "and make sure that the model takes any number of rows"
        )
    for size in value[1:]:
        if size != -1 and size < 1:
            raise ValueError(f"{size} is not a size: an axis is -1 (any) or at least 1")
    return value


def cpu_only(value: str) -> str:
    """Check that a device is the CPU."""
    if value.lower() != "cpu":
        raise ValueError(f"{value!r} is not served here: models run on the CPU, write cpu")
    return "cpu"


def local_file(value: str) -> str:
    """Check that a path stays inside the model's folder."""
    path = PurePosixPath(value)
    if "://" in value or path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
        raise ValueError(f"{value!r} must be a relative path inside the model's own folder")
    return str(path)


def plain_values(value: dict[str, Any]) -> dict[str, Any]:
    """Check that arguments can be written as JSON."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"only text, numbers, booleans, lists and mappings can be passed on: {error}") from error
    return value


def importable(value: str) -> str:
    """Check that a class is written as package.module:ClassName."""
    if not _CLASS.fullmatch(value):
        raise ValueError(f"{value!r} must be written as package.module:ClassName")
    return value


def known_python(value: Any) -> Any:
    """Check that a Python is one that Triton has a stub for."""
    if isinstance(value, float):
        written = "3.10" if value == 3.1 else str(value)
        raise ValueError(f'a number in YAML, where 3.10 is 3.1: write it in quotes: "{written}"')
    if isinstance(value, str) and value not in PYTHONS:
        found = re.fullmatch(r"3\.(\d{1,3})", value)
        if found and int(found[1]) > 13:
            raise ValueError(f"{value!r} is not served yet: use a 3.13 environment")
        if found and int(found[1]) < 10:
            raise ValueError(f"{value!r} is not served: the oldest is 3.10")
        raise ValueError(f"{value!r} is not one of {', '.join(PYTHONS)}")
    return value


def file_or_lines(value: Any) -> Any:
    """Check the requirements of an environment: lines, or the name of the file that has them."""
    if isinstance(value, str):
        if not re.fullmatch(r"[\w./-]*[A-Za-z_]", value):
            raise ValueError(f"{value!r} is not the name of a file beside this one: write requirements as a list")
        name = local_file(value)
        if name in LOCK_FILES:
            raise ValueError(f"{name} is what the build writes: give the file of requirements another name")
        return name
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("write a list of requirements, as in [scikit-learn==1.7.2], or the name of a file of them")
    lines = []
    for number, line in enumerate(value):
        try:
            if not isinstance(line, str):
                raise ValueError(f"{line!r} is no text: write it as in scikit-learn==1.7.2")
            lines.append(check_requirement(line))
        except ValueError as error:
            raise MisplacedError((number,), str(error)) from error
    return tuple(lines)


def as_text(value: Any) -> Any:
    """Take a number for the text that it is written as."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def safe_name(value: Any) -> Any:
    """Check a model's name."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text in YAML: write it in quotes")
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is up to 128 letters, digits, dots, dashes and underscores, the first a letter or digit"
        )
    return value


def json_key(value: str) -> str:
    """Check a name that requests have as a key: their decoder cannot look for one that JSON writes with escapes."""
    if wrong := next((sign for sign in value if sign in '"\\' or sign < " "), None):
        raise ValueError(
            f"{value!r} has {wrong!r} in it, which a name in requests cannot have: fit or export the model with another"
        )
    return value


def one_or_many(value: Any) -> Any:
    """Take a single number for a list of one."""
    return [value] if isinstance(value, int) else value
