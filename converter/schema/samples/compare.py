"""Served answers beside the original's: equal within what a dtype's arithmetic may differ by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What sums in another order, or on another processor, may differ by: relative, and for values near 0.
_TOLERANCES: Mapping[str, tuple[float, float]] = {
    "float16": (1e-2, 1e-3), "float32": (1e-4, 1e-5), "float64": (1e-7, 1e-9),
}  # fmt: skip
_EXACT = (0.0, 0.0)


@dataclass(frozen=True)
class Tolerance:
    """The most that two numbers may differ by: `atol` + `rtol` × the original's."""

    rtol: float
    atol: float

    def allows(self, served: float, original: float) -> bool:
        """Tell whether two numbers count as equal; NaN is equal to itself."""
        if math.isnan(served) or math.isnan(original):
            return math.isnan(served) and math.isnan(original)
        return served == original or abs(served - original) <= self.atol + self.rtol * abs(original)


@dataclass(frozen=True)
class Difference:
    """Where a served answer is not the original's: the row, the place in it, and both values."""

    row: int
    place: str
    served: Any
    original: Any

    def __str__(self) -> str:
        where = f"row {self.row}" + (f", {self.place}" if self.place else "")
        return f"{where}: served {_format(self.served)}, and the original's answer is {_format(self.original)}"


def default_tolerance(dtype: str, rtol: float | None = None, atol: float | None = None) -> Tolerance:
    """Return the tolerance of an output's dtype, or what a config says in its place; whole numbers and text: none."""
    usual = _TOLERANCES.get(dtype, _EXACT)
    return Tolerance(usual[0] if rtol is None else rtol, usual[1] if atol is None else atol)


def compare_rows(served: Any, original: Any, tolerance: Tolerance) -> list[Difference]:
    """Compare the rows of one output, as JSON has them; the first difference of each row that has one."""
    if len(served) != len(original):
        return [Difference(min(len(served), len(original)), "", f"{len(served)} rows", f"{len(original)} rows")]
    found = []
    for row, (mine, theirs) in enumerate(zip(served, original, strict=True)):
        difference = _compare(mine, theirs, tolerance, "")
        if difference is not None:
            found.append(Difference(row, *difference))
    return found


def largest_difference(served: Any, original: Any) -> float:
    """Return the most that two numbers in the same place differ by; what are not both numbers counts 0."""
    if isinstance(served, list) and isinstance(original, list):
        return max(map(largest_difference, served, original), default=0.0)
    if not _is_number(served) or not _is_number(original) or served == original:
        return 0.0
    difference = abs(served - original)
    return difference if math.isfinite(difference) else 0.0


def _compare(served: Any, original: Any, tolerance: Tolerance, place: str) -> tuple[str, Any, Any] | None:
    if isinstance(served, list) and isinstance(original, list):
        if len(served) != len(original):
            return place, f"{len(served)} values", f"{len(original)} values"
        pairs = enumerate(zip(served, original, strict=True))
        return next((wrong for i, pair in pairs if (wrong := _compare(*pair, tolerance, f"{place}[{i}]"))), None)
    if _is_number(served) and _is_number(original):
        same = tolerance.allows(served, original)
    else:
        same = served == original and isinstance(served, bool) == isinstance(original, bool)
    return None if same else (place, served, original)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format(value: Any) -> str:
    text = value if isinstance(value, str) and value.endswith(("rows", "values")) else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
