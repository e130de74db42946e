"""How a model's fit saw its columns: what a missing text was, and which columns were categories of pandas.

There are two copies, equal byte for byte: the runtime's, and that of the object probe, which asks originals as they are
served.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

# The parts of a large model say the same again and again.
_MOST_PARTS = 2000
_MOST_ITEMS = 200


def find_missing(model: Any) -> float | None:
    """Return what stands for a missing text: NaN, as in what pandas reads, if the fit saw one, else None."""
    for part in _walk(model):
        seen = vars(part).get("categories_")
        lists = seen if isinstance(seen, list) else []
        if any(_is_nan(value) for values in lists for value in values[-1:]):
            return math.nan
        filled = vars(part).get("statistics_")
        if isinstance(filled, np.ndarray) and filled.dtype.kind == "O" and _is_nan(vars(part).get("missing_values")):
            return math.nan
    return None


def find_categories(model: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of these, in the order of the fit, that LightGBM or XGBoost takes as categories of pandas.

    Each with its categories, as far as the library tells them.
    """
    for part in (model, *vars(model).values()) if hasattr(model, "__dict__") else ():
        kind = type(part).__module__.partition(".")[0]
        if kind == "lightgbm" and getattr(part, "pandas_categorical", None):
            places = part.params.get("categorical_column", part.params.get("categorical_feature"))
            if isinstance(places, list) and len(places) == len(part.pandas_categorical):
                return {names[i]: values for i, values in zip(places, part.pandas_categorical, strict=True)}
        # Before 3.1 it took the codes of whatever rows it was asked for: what it says of objects is better.
        if kind == "xgboost" and hasattr(part, "get_categories") and part.feature_types:
            return {name: [] for name, letter in zip(names, part.feature_types, strict=False) if letter == "c"}
    return {}


def fill_missing(values: Any, missing: float | None) -> Any:
    """Return an array of objects with what stands for a missing text in the place of None."""
    if missing is None:
        return values
    filled, nothing = values.copy(), np.array(None, dtype=object)
    filled[np.equal(values, nothing)] = missing
    return filled


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _walk(model: Any) -> Iterator[Any]:
    """Yield a model and the objects that it is made of, those near it first."""
    pending: deque[Any] = deque([model])
    seen: set[int] = set()
    while pending and len(seen) < _MOST_PARTS:
        part = pending.popleft()
        if isinstance(part, list | tuple | dict):
            items = part.values() if isinstance(part, dict) else part
            pending.extend(item for item, _ in zip(items, range(_MOST_ITEMS), strict=False))
        elif hasattr(part, "__dict__") and not isinstance(part, type | ModuleType) and id(part) not in seen:
            seen.add(id(part))
            yield part
            pending.extend(vars(part).values())
