"""Rows beside what a model has seen: some are so far away that a step, such as a scaler, may be missing before it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

# Fewer say too little of what is usual.
_FEWEST_ROWS = 4
_FEWEST_SEEN = 3
# In times the range of what was seen: where the middle of real rows never lies, if it is so for most features, or one.
_OUTSIDE = 0.25
_FAR_OUTSIDE = 3.0


def find_unlike(hints: Sequence[Any], rows: Sequence[Any], names: Sequence[str] | None = None) -> str | None:
    """Say which feature is furthest from what the model has seen (value_hints.learn), if most are, or one is very far.

    Rows are lists of as many values as there are hints; other rows are not judged.
    """
    if len(rows) < _FEWEST_ROWS or any(not isinstance(row, list) or len(row) != len(hints) for row in rows):
        return None
    known = 0
    found: list[tuple[float, int, str]] = []
    for place, hint in enumerate(hints):
        seen = {float(value) for value in hint.values if isinstance(value, int | float)}
        given = [float(row[place]) for row in rows if isinstance(row[place], int | float)]
        if hint.kind != "number" or len(seen) < _FEWEST_SEEN or not given:
            continue
        known += 1
        low, high = min(seen), max(seen)
        middle = median(given)
        away = max(low - middle, middle - high) / (high - low)
        if away > _OUTSIDE:
            seen_as = f"where the model has seen or splits at {low:.6g} to {high:.6g}"
            found.append((away, place, f"{min(given):.6g} to {max(given):.6g}, {seen_as}"))
    if not found or (2 * len(found) < known and max(found)[0] < _FAR_OUTSIDE):
        return None
    _, place, said = max(found)
    which = f"column {names[place]}" if names else f"feature {place}"
    others = f" (and {len(found) - 1} of the {known - 1} others)" if len(found) > 1 else ""
    return f"{which} is {said}{others}"
