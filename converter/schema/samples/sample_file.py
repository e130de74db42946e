"""`sample.json` beside a model: rows as clients send them, and the original's own answers as clients get them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_NAME = "sample.json"
# It is sent to the model after each load.
MOST_SAMPLE_BYTES = 4 * 1024 * 1024
_KEYS = ("features", "predictions", "made_by")


class BadSample(ValueError):
    """A file that is no sample; the text says why, and what to do."""


@dataclass(frozen=True)
class Sample:
    """`features` and `predictions` as in a request's and an answer's body, of as many rows; `made_by` is for people."""

    features: Any
    predictions: Any
    made_by: str = ""


def read_sample(path: Path) -> Sample | None:
    """Read a sample; None if it is another file of that name, which has none of a sample's keys.

    Raises: BadSample; OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MOST_SAMPLE_BYTES + 1)
    if len(data) > MOST_SAMPLE_BYTES:
        raise BadSample(
            f"it has over {MOST_SAMPLE_BYTES} bytes, which are sent to the model after each load: leave rows out"
        )
    try:
        found = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadSample(f"it is not JSON: {error}: write it again, or remove it") from error
    if not isinstance(found, dict) or not found.keys() & set(_KEYS):
        return None
    for key in found:
        if key not in _KEYS:
            raise BadSample(f"{key!r} is no key of a sample: it has {', '.join(_KEYS)}")
    for key in _KEYS[:2]:
        if not isinstance(found.get(key), list | dict) or not found[key]:
            raise BadSample(f"{key}: a sample needs rows, as in a request's and an answer's body")
    return Sample(found["features"], found["predictions"], str(found.get("made_by", "")))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
