"""Rows beside what a model has seen: a forgotten scaler is told, ordinary rows are not."""

from __future__ import annotations

import pytest

from converter.authoring.object_probe.unlike_fit import find_unlike
from converter.authoring.object_probe.value_hints import Hint

SPLITS = [Hint(values=[-1.0, 0.0, 1.5]), Hint(values=[-2.0, 0.5, 1.0])]
COLORS = Hint(kind="string", values=["red", "green", "blue"])


def test_rows_that_no_scaler_has_seen_are_told_with_the_furthest_feature() -> None:
    rows = [[5.1, 30.0], [4.9, 31.0], [6.2, 28.0], [7.0, 33.0]]
    said = "feature 1 is 28 to 33, where the model has seen or splits at -2 to 1 (and 1 of the 1 others)"
    assert find_unlike(SPLITS, rows) == said


def test_a_column_is_told_by_its_name() -> None:
    said = find_unlike([*SPLITS, COLORS], [[5.0, 0.1, "red"]] * 4, ["age", "size", "color"])
    assert said == "column age is 5 to 5, where the model has seen or splits at -1 to 1.5"


@pytest.mark.parametrize(
    "rows",
    [
        [[-0.5, 0.2], [0.1, -1.0], [1.0, 0.9], [40.0, 50.0]],
        # Most values of a feature may lie on one side of all splits.
        [[-1.5, 0.2], [-1.4, -1.0], [-1.2, 0.9], [-1.1, 0.3]],
        [[None, None]] * 4,
        [[5.1, 30.0]] * 3,
        [[5.1]] * 4,
        ["a text"] * 4,
    ],
    ids=["ordinary", "beside the splits", "missing", "too few", "of another width", "texts"],
)
def test_other_rows_are_not_told(rows: list[object]) -> None:
    assert find_unlike(SPLITS, rows) is None


def test_a_model_that_has_seen_too_little_says_nothing() -> None:
    assert find_unlike([Hint(values=[0.5, 0.5]), Hint()], [[100.0, 200.0]] * 4) is None
