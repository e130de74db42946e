"""Joining requests into one call, and finding the request that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadModelOutput, ModelError, ModelUnreachable, as_model_error

# Tensors by name, each of shape (rows, ...).
Arrays = Mapping[str, npt.NDArray[Any]]
Call = Callable[[Arrays], Arrays]


def rows_of(arrays: Arrays) -> int:
    """Count the rows; every tensor of a request has the same number."""
    return len(next(iter(arrays.values())))


def join(items: Sequence[Arrays]) -> Arrays:
    """Join the rows of all items in order. Raises ValueError if their shapes do not go together."""
    if len(items) == 1:
        return items[0]
    return {name: np.concatenate([item[name] for item in items]) for name in items[0]}


def split(outputs: Arrays, rows: Sequence[int]) -> list[Arrays]:
    """Undo `join`: the first rows[0] rows are the first item's. Raises BadModelOutput if they don't add up."""
    total = sum(rows)
    for name, array in outputs.items():
        if len(array) != total:
            raise BadModelOutput(f"output {name} has {len(array)} rows, and the input {total}")
    parts: list[Arrays] = []
    start = 0
    for count in rows:
        parts.append({name: array[start : start + count] for name, array in outputs.items()})
        start += count
    return parts


def call_each(items: Sequence[Arrays | ModelError], call: Call) -> list[Arrays | ModelError]:
    """Call the model once for all items, as `call_joined`; an item that is an error already stays one."""
    good = [item for item in items if not isinstance(item, ModelError)]
    results = iter(call_joined(good, call) if good else ())
    return [item if isinstance(item, ModelError) else next(results) for item in items]


def call_joined(items: Sequence[Arrays], call: Call) -> list[Arrays | ModelError]:
    """Call the model once for all items; if that fails, in halves, until only the guilty item fails.

    With k guilty of n items that is at most about 2·k·log2(n) + 1 calls. An error that says nothing about the
    rows (ModelUnreachable) is every item's, at once.
    """
    try:
        return list(split(call(join(items)), [rows_of(item) for item in items]))
    except (Exception, SystemExit) as error:
        ours = as_model_error(error)
        if isinstance(ours, ModelUnreachable):
            return [ours for _ in items]
        if len(items) == 1:
            return [ours]
    middle = len(items) // 2
    return call_joined(items[:middle], call) + call_joined(items[middle:], call)
