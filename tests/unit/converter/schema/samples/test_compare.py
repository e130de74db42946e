"""Answers are equal within a dtype's arithmetic, and what differs is named."""

from __future__ import annotations

import math
from typing import Any

import pytest

from converter.schema.samples.compare import Tolerance, compare_rows, default_tolerance, largest_difference


@pytest.mark.parametrize(
    ("dtype", "served", "original", "same"),
    [
        ("float32", 1.00009, 1.0, True),
        ("float32", 1.0002, 1.0, False),
        ("float32", 0.000009, 0.0, True),
        ("float64", 1.00000005, 1.0, True),
        ("float64", 1.0000005, 1.0, False),
        ("float16", 1.009, 1.0, True),
        ("int64", 3, 3, True),
        ("int64", 4, 3, False),
        ("bool", True, True, True),
        ("bool", True, False, False),
        ("string", "yes", "yes", True),
        ("string", "yes", "no", False),
        ("float64", None, None, True),
        ("float64", None, 1.0, False),
        ("float64", True, 1.0, False),
        ("float64", math.inf, math.inf, True),
        ("float64", math.nan, math.nan, True),
        ("float64", math.nan, 1.0, False),
    ],
)
def test_values_are_equal_within_a_dtypes_arithmetic(dtype: str, served: Any, original: Any, same: bool) -> None:
    assert (compare_rows([[served]], [[original]], default_tolerance(dtype)) == []) is same


def test_the_first_difference_of_each_row_is_named() -> None:
    served = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]], [[1.0, 1.0], [9.0, 9.0]]]
    original = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.5, 8.5]], [[2.0, 1.0], [9.0, 9.0]]]
    found = compare_rows(served, original, Tolerance(0, 0))
    assert [str(item) for item in found] == [
        "row 1, [1][0]: served 7.0, and the original's answer is 7.5",
        "row 2, [0][0]: served 1.0, and the original's answer is 2.0",
    ]


def test_another_number_of_rows_or_values_is_a_difference() -> None:
    [rows] = compare_rows([[1.0]], [[1.0], [2.0]], Tolerance(0, 0))
    assert str(rows) == "row 1: served 1 rows, and the original's answer is 2 rows"
    [values] = compare_rows([[1.0, 2.0]], [[1.0]], Tolerance(0, 0))
    assert str(values) == "row 0: served 2 values, and the original's answer is 1 values"


def test_a_config_says_how_far_answers_may_be_off() -> None:
    assert default_tolerance("float32", rtol=0.5) == Tolerance(0.5, 1e-5)
    assert default_tolerance("int64", atol=1) == Tolerance(0, 1)
    assert compare_rows([[4]], [[3]], default_tolerance("int64", atol=1)) == []


def test_a_long_value_is_cut() -> None:
    [found] = compare_rows([["x" * 100]], [["y"]], Tolerance(0, 0))
    assert str(found) == f"row 0, [0]: served '{'x' * 59}…, and the original's answer is 'y'"


@pytest.mark.parametrize(
    ("served", "original", "largest"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 3.75]], 0.5),
        ([1, 5], [1, 2], 3),
        (["yes"], ["no"], 0),
        ([True], [False], 0),
        ([None, 1.0], [2.0, 1.0], 0),
        ([math.inf], [1.0], 0),
    ],
)
def test_the_largest_difference_is_that_of_numbers(served: Any, original: Any, largest: float) -> None:
    assert largest_difference(served, original) == largest
