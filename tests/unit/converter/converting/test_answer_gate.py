"""What is let through in a pickle's place: no label may change, and numbers by no more than their dtype allows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from converter.converting.answer_gate import compare_answers
from converter.schema.samples.compare import default_tolerance

DOUBLE = default_tolerance("float64")
EXACT = default_tolerance("int64")


def test_equal_answers_pass_and_are_counted() -> None:
    found = compare_answers([[0.25, 0.75], [1.0, 0.0]], [[0.25, 0.75], [1.0, 1e-12]], DOUBLE, classifies=True)
    assert found.passed and found.labels
    assert (found.rows, found.changed, found.outside, found.largest) == (2, 0, 0, 1e-12)


def test_one_label_of_thousands_that_changes_is_refused() -> None:
    original = [[1], [0]] * 5000
    found = compare_answers(original, [*original[:-1], [1]], EXACT, classifies=True)
    assert not found.passed
    assert found.explain() == "1 of 10,000 labels changed (row 9999: [1] in place of [0])"


def test_a_tie_that_tips_is_a_label_that_changes() -> None:
    found = compare_answers([[0.5, 0.5]], [[0.5 - 1e-12, 0.5 + 1e-12]], DOUBLE, classifies=True)
    assert (found.changed, found.outside, found.passed) == (1, 0, False)


@pytest.mark.parametrize(("method_has_scores", "changed"), [(True, 1), (False, 1)])
def test_the_sign_of_a_score_is_a_label(method_has_scores: bool, changed: int) -> None:
    found = compare_answers([[1e-12]], [[-1e-12]], DOUBLE, classifies=True, scores=method_has_scores)
    assert found.changed == changed


def test_a_regressor_has_no_labels_and_may_differ_within_its_dtype() -> None:
    found = compare_answers([[1.0], [2.0]], [[1.0 + 5e-8], [2.0]], DOUBLE, classifies=False)
    assert found.passed and not found.labels
    further = compare_answers([[1.0], [2.0]], [[1.0 + 5e-6], [2.0]], DOUBLE, classifies=False)
    assert (further.outside, further.passed) == (1, False)
    assert "by at most 5e-06: `verify: {rtol: …, atol: …}` in the config allows more" in further.explain()
    assert compare_answers([[1.0]], [[1.0 + 5e-6]], default_tolerance("float32"), classifies=False).passed


@pytest.mark.parametrize("other", [None, [0.25, 0.75, 0.0], [math.nan, 0.75], ["b"]])
def test_no_answer_and_another_form_are_refused(other: Any) -> None:
    assert not compare_answers([[0.25, 0.75]], [other], DOUBLE, classifies=True).passed


def test_rows_that_the_original_refuses_do_not_count() -> None:
    assert compare_answers([None, [1]], [[7], [1]], EXACT, classifies=True).passed
    assert compare_answers([None], [[7]], EXACT, classifies=True).explain() == "the original answers none of the rows"


def test_texts_are_labels() -> None:
    assert compare_answers([["setosa"]], [["virginica"]], EXACT, classifies=True).changed == 1
