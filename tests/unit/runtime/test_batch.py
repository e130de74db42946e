"""Joining requests, and finding the one that breaks a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triton_repo_template.runtime.batch import Arrays, call_joined, join, rows_of, split
from triton_repo_template.runtime.errors import (
    BadModelOutput,
    DeadlineExceeded,
    ModelError,
    ModelUnfit,
    ModelUnreachable,
    as_model_error,
)


def item(*values: float) -> Arrays:
    return {"x": np.array(values, np.float64).reshape(-1, 1)}


class Counted:
    """A call that raises where a guilty value is among the rows, and else gives 10 × x."""

    def __init__(self, guilty: set[int], error: Callable[[], BaseException] = lambda: ValueError("no")) -> None:
        self.guilty, self.error, self.calls = guilty, error, 0

    def __call__(self, arrays: Arrays) -> Arrays:
        self.calls += 1
        if self.guilty & {int(value) for value in arrays["x"].ravel()}:
            raise self.error()
        return {"y": arrays["x"] * 10}


def listed(results: list[Arrays | ModelError]) -> list[Any]:
    return [str(result) if isinstance(result, ModelError) else result["y"].ravel().tolist() for result in results]


def test_join_and_split_are_inverse() -> None:
    items = [item(1, 2), item(3), item(4, 5, 6)]
    joined = join(items)
    assert joined["x"].ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert rows_of(joined) == 6
    assert [part["x"].ravel().tolist() for part in split(joined, [2, 1, 3])] == [[1, 2], [3], [4, 5, 6]]


def test_one_item_is_not_copied() -> None:
    one = item(1)
    assert join([one]) is one


def test_items_of_different_width_do_not_join() -> None:
    with pytest.raises(ValueError, match="must match exactly"):
        join([{"x": np.zeros((1, 2))}, {"x": np.zeros((1, 3))}])


def test_split_refuses_a_row_count_that_does_not_add_up() -> None:
    with pytest.raises(BadModelOutput, match="output y has 2 rows, and the input 3"):
        split({"y": np.zeros((2, 1))}, [1, 2])


def test_a_good_batch_is_one_call() -> None:
    call = Counted(set())
    assert listed(call_joined([item(1), item(2, 3)], call)) == [[10], [20, 30]]
    assert call.calls == 1


def test_items_that_do_not_join_are_called_apart() -> None:
    items = [{"x": np.zeros((1, 2))}, {"x": np.ones((1, 3))}]
    results = call_joined(items, lambda arrays: {"y": arrays["x"].sum(axis=1)})
    assert listed(results) == [[0], [3]]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "[schwift:model_error] ValueError: no"),
        (SystemExit(3), "[schwift:model_error] SystemExit: 3"),
        (MemoryError(), "[schwift:model_error] MemoryError: "),
        (ModelError("no"), "[schwift:model_error] no"),
        (BadModelOutput("no"), "[schwift:bad_model_output] no"),
    ],
)
def test_only_the_guilty_request_fails_and_says_why(error: BaseException, text: str) -> None:
    call = Counted({2}, lambda: error)
    assert listed(call_joined([item(1), item(2), item(3)], call)) == [[10], text, [30]]


@pytest.mark.parametrize("kind", [ModelUnreachable, DeadlineExceeded])
def test_an_unreachable_model_is_asked_once_and_is_every_items_error(kind: type[ModelError]) -> None:
    call = Counted({1, 2, 3, 4}, lambda: kind("gone"))
    results = call_joined([item(i) for i in (1, 2, 3, 4)], call)
    assert listed(results) == [f"[schwift:{kind.code}] gone"] * 4
    assert call.calls == 1


def test_only_the_guilty_request_fails_by_an_error_that_looks_like_no_rows_fault() -> None:
    """A model may import, or ask an array for something, for some rows alone."""
    call = Counted({2}, lambda: ImportError("no module x"))
    text = "[schwift:model_unfit] ImportError: no module x"
    assert listed(call_joined([item(1), item(2), item(3)], call)) == [[10], text, [30]]


def test_a_model_that_loses_rows_fails_for_those_it_loses_alone() -> None:
    def drops_twos(arrays: Arrays) -> Arrays:
        return {"y": arrays["x"][arrays["x"].ravel() != 2]}

    results = call_joined([item(1), item(2), item(3)], drops_twos)
    assert listed(results) == [[1], "[schwift:bad_model_output] output y has 0 rows, and the input 1", [3]]


def test_being_told_to_stop_is_not_a_models_error() -> None:
    with pytest.raises(KeyboardInterrupt):
        call_joined([item(1)], Counted({1}, KeyboardInterrupt))


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=40),
    guilty=st.sets(st.integers(0, 39)),
)
def test_exactly_the_guilty_fail_and_the_others_get_their_own_rows(sizes: list[int], guilty: set[int]) -> None:
    items = [item(*([i] * size)) for i, size in enumerate(sizes)]
    call = Counted(guilty)
    results = listed(call_joined(items, call))
    for i, size in enumerate(sizes):
        assert results[i] == ("[schwift:model_error] ValueError: no" if i in guilty else [i * 10.0] * size)
    n, k = len(items), len(guilty & set(range(len(items))))
    assert call.calls <= 2 * k * math.ceil(math.log2(n)) + 1
    assert call.calls <= 2 * n - 1


def test_errors_that_no_row_could_help_are_told_apart() -> None:
    class UsersOwn:
        pass

    class NotFittedError(ValueError):
        pass

    def raised_by(act: Callable[[], object]) -> ModelError:
        with pytest.raises(Exception) as caught:
            act()
        return as_model_error(caught.value)

    library = np.random.RandomState(0)
    unfit = raised_by(lambda: library.multi_class)  # type: ignore[attr-defined]
    assert isinstance(unfit, ModelUnfit)
    assert str(unfit).endswith("object has no attribute 'multi_class'")
    for error in (ImportError("no x"), ModuleNotFoundError("no y"), NotFittedError("call fit")):
        assert type(as_model_error(error)) is ModelUnfit
    for act in (lambda: UsersOwn().x, lambda: "text".x, lambda: None.x):  # type: ignore[attr-defined]
        assert type(raised_by(act)) is ModelError
    assert type(as_model_error(AttributeError("without an object"))) is ModelError
    assert type(as_model_error(ValueError("negative"))) is ModelError
