"""What a converted model answers beside the original: it is let through only if no label changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.schema.samples.compare import Tolerance, compare_rows, largest_difference

_CLOSE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """How many rows both answer, and how far they are apart; `first` is the first row that is not as it was.

    `labels` is whether an answer says a class: by itself, or as the largest of several numbers.
    """

    rows: int
    largest: float
    changed: int
    outside: int
    labels: bool
    first: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing changed that counts."""
        return self.rows > 0 and not self.changed and not self.outside

    def explain(self) -> str:
        """Say why it is not let through."""
        if not self.rows:
            return "the original answers none of the rows"
        said = [f"{self.changed:,} of {self.rows:,} labels changed"] if self.changed else []
        said += [f"{self.outside:,} of {self.rows:,} answers differ by more than is allowed"] if self.outside else []
        # Where nothing but numbers is off, and by little, it may be allowed.
        close = not self.changed and self.largest < _CLOSE
        remedy = f", by at most {self.largest:.1g}: `verify: {{rtol: …, atol: …}}` in the config allows more"
        return f"{' and '.join(said)}{remedy if close else ''} ({self.first})"


def compare_answers(
    original: Sequence[Any], converted: Sequence[Any], tolerance: Tolerance, classifies: bool, scores: bool = False
) -> Comparison:
    """Compare answers row by row; those that the original refuses, which are None, do not count.

    With `classifies` the largest of a row's numbers is its label, or with `scores` the sign of a single one.
    """
    rows, changed, outside, largest, first = 0, 0, 0, 0.0, ""
    labels = False
    for place, (theirs, mine) in enumerate(zip(original, converted, strict=True)):
        if theirs is None:
            continue
        rows += 1
        label = _find_label(theirs, classifies, scores)
        labels = labels or label is not None
        wrong = mine is None or compare_rows([mine], [theirs], tolerance)
        other = label is not None and (mine is None or _find_label(mine, classifies, scores) != label)
        largest = max(largest, 0.0 if mine is None else largest_difference(mine, theirs))
        changed += other
        outside += bool(wrong) and not other
        if (wrong or other) and not first:
            first = f"row {place}: {_shorten(mine)} in place of {_shorten(theirs)}"
    return Comparison(rows, largest, changed, outside, labels, first)


def _find_label(answer: Any, classifies: bool, scores: bool) -> Any:
    """Return the class that an answer says; None if it says none."""
    values = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(value, float) for value in values):
        return values
    if not classifies:
        return None
    if len(values) == 1:
        return values[0] > 0 if scores else values
    return max(range(len(values)), key=values.__getitem__)


def _shorten(value: Any) -> str:
    text = "no answer" if value is None else str(value)
    return text if len(text) <= 100 else text[:100] + "…"
