"""Calls of one model with one tensor, which a host looks up from the second time on: they are answered as if read."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.hosted_members import (
    HOST_KEY,
    Sums,
    call,
    call_of,
    floats,
    host_args,
    infer,
    parts_of,
    sums_of,
    write_member,
)
from tests.support.models.runtime_models import outcome
from triton_repo_template.runtime.host.envelope import EVICT, FAILED, LOADING, OK, Part, write_envelope
from triton_repo_template.runtime.host.model_host import TritonPythonModel

Ask = Callable[..., Part]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TritonPythonModel]:
    monkeypatch.setattr(pb.Logger, "lines", [])
    host = TritonPythonModel()
    host.initialize(host_args(tmp_path))
    yield host
    host.finalize()


@pytest.fixture
def ask(host: TritonPythonModel) -> Ask:
    def ask(part: Part) -> Part:
        """The answer to a call, once its model is loaded."""
        ends = time.monotonic() + 30
        while True:
            (answer,) = parts_of(*host.execute([call(part)]))
            if answer.kind != LOADING:
                return answer
            assert time.monotonic() < ends, "still loading"

    return ask


def test_they_are_answered_with_their_own_values_and_shapes(tmp_path: Path, ask: Ask) -> None:
    keys = [write_member(tmp_path, name, Sums(factor)) for name, factor in (("a", 1), ("b", 10), ("long_name", 100))]
    for turn in range(3):
        for key, factor in zip(keys, (1, 10, 100), strict=True):
            for rows in (1, 2, 3):
                values = [[turn, row + 0.5] for row in range(rows)]
                answer = ask(sums_of(key, *values))
                assert (answer.kind, floats(answer)) == (OK, [[sum(row) * factor] for row in values])
                assert answer.number > 0


def test_what_a_model_raises_is_said_every_time(tmp_path: Path, ask: Ask) -> None:
    key = write_member(tmp_path, "a", Sums(), max_batch_size=2)
    for _ in range(3):
        assert floats(ask(sums_of(key, [1, 2]))) == [[3.0]]
        for rows, says in (
            ([[-1, 0]], "ValueError: negative"),
            ([[13, 0]], "SystemExit: 3"),
            ([[1, 1], [1, 1], [1, 1]], "3 rows in a call, and the model takes 2"),
        ):
            answer = ask(sums_of(key, *rows))
            assert (answer.kind, answer.text.decode()) == (FAILED, f"[schwift:model_error] {says}")


def test_one_with_another_key_is_refused_also_if_all_else_is_known(
    tmp_path: Path, host: TritonPythonModel, ask: Ask
) -> None:
    part = sums_of(write_member(tmp_path, "a", Sums()), [1, 2])
    for _ in range(2):
        assert floats(ask(part)) == [[3.0]]
    for key in (b"f" * 32, HOST_KEY[:-1] + b"x", bytes(32)):
        (refused,) = host.execute([call(part, key=key)])
        assert outcome(refused) == "[schwift:model_error] a call with another key than this pack's"
    assert floats(ask(part)) == [[3.0]]


def test_bytes_behind_a_call_are_not_taken_for_its_values(tmp_path: Path, host: TritonPythonModel, ask: Ask) -> None:
    key = write_member(tmp_path, "a", Sums())
    ask(sums_of(key, [0, 0]))
    for rows in ([[0, 0]], [[1, 2]], [[3, 4]]) * 2:
        data = write_envelope([sums_of(key, *rows)], HOST_KEY) + bytes(8)
        (answer,) = parts_of(*host.execute([call_of(data)]))
        assert floats(answer) == [[sum(rows[0])]]


class Watched(Sums):
    """Sums of which a test sees whether the last one that was loaded is still there."""

    loaded: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        type(self).loaded = weakref.ref(self)


def test_a_model_that_is_put_away_is_let_go_and_asked_again_loaded_again(tmp_path: Path, ask: Ask) -> None:
    key = write_member(tmp_path, "a", Watched())
    for _ in range(2):
        for _ in range(2):
            assert floats(ask(sums_of(key, [1, 2]))) == [[3.0]]
        assert Watched.loaded() is not None
        ask(Part(EVICT, key.encode()))
        # The thread that loaded it has it until it does something else.
        ends = time.monotonic() + 10
        while Watched.loaded() is not None:
            assert time.monotonic() < ends, "still held"
            gc.collect()


@pytest.mark.parametrize(("dtype", "width"), [("float64", 2), ("float64", 4), ("float32", 8)])
def test_a_model_that_takes_anothers_name_is_asked_as_it_wants_it(
    tmp_path: Path, ask: Ask, dtype: str, width: int
) -> None:
    key = write_member(tmp_path, "a", Sums(), inputs=[("x", "float32", (4,))])
    old = infer(key, np.arange(8, dtype=np.float32).reshape(2, 4))
    for _ in range(2):
        assert floats(ask(old)) == [[6.0], [22.0]]
    ask(Part(EVICT, key.encode()))
    for path in (tmp_path / key).iterdir():
        path.unlink()
    (tmp_path / key).rmdir()
    assert write_member(tmp_path, "a", Sums(), inputs=[("x", dtype, (width,))]) == key
    new = infer(key, np.ones((2, width), dtype))
    for _ in range(2):
        assert floats(ask(new)) == [[width], [width]]
        if dtype == "float64":
            answer = ask(old)
            assert (answer.kind, answer.text.decode()) == (
                FAILED, "[schwift:model_error] tensor x cannot be read: buffer is too small for requested array",
            )  # fmt: skip


def test_calls_as_long_as_others_and_long_ones_are_answered_with_their_own(tmp_path: Path, ask: Ask) -> None:
    """A longer name and a shorter row are as many bytes; and of very long calls nothing is kept."""
    short = write_member(tmp_path, "a", Sums(), inputs=[("x", "float32", (-1,))])
    long = write_member(tmp_path, "a_longer_name", Sums(10), inputs=[("x", "float32", (-1,))])
    for turn in range(3):
        wide, narrow = np.full((1, 6), turn, np.float32), np.full((1, 4), turn, np.float32)
        calls = infer(short, wide), infer(long, narrow)
        assert len({len(write_envelope([part])) for part in calls}) == 1
        assert [floats(ask(part)) for part in calls] == [[[6.0 * turn]], [[40.0 * turn]]]
        assert floats(ask(infer(short, np.full((1, 50_000), turn, np.float32)))) == [[50_000.0 * turn]]


def test_only_so_many_are_known_at_a_time(tmp_path: Path, ask: Ask) -> None:
    """More shapes than are kept: each is answered, before and after those before it were forgotten."""
    key = write_member(tmp_path, "a", Sums(), inputs=[("x", "float32", (-1,))], max_batch_size=4)
    for width in (*range(1, 1100), 1, 2, 1099):
        row = np.ones((1, width), np.float32)
        assert floats(ask(infer(key, row))) == [[width]]
