"""The pipe from the adapter: whatever is written to it, only whole lines of the one form count."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.schema.wire import EndProcess, KillModel, KillOrder
from schwift import kill_pipe
from schwift.kill_pipe import KillPipe


@pytest.fixture
def pipe() -> Iterator[KillPipe]:
    with contextlib.closing(KillPipe()) as it:
        yield it


def test_nothing_is_ordered_at_first(pipe: KillPipe) -> None:
    assert pipe.read() == []


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (b"kill m_direct\n", [KillModel("m_direct")]),
        (b"kill m_direct~b3b5f3b3\n", [KillModel("m_direct~b3b5f3b3")]),
        (b"end 4711\nkill 4711\nend 4711\n", [EndProcess(4711), KillModel("4711")]),
        (b"end 0\nend -1\nend 04\nend 1 2\nend m\nend \nend 12345678901\n", []),
        (b"kill a\nkill b.2\nkill a\n", [KillModel("a"), KillModel("b.2")]),
        (b"\nkill a\n\n", [KillModel("a")]),
        (b"kill ../a\nkill a/b\nkill \nkill\nKILL a\nkill a b\n kill a\nkill a\r\nkill \xff\nkill -9\n", []),
        (b"x" * 4000 + b"\n", []),
        (
            b"end 7\n" * 3 + b"kill " + b"m" * 255 + b"\nkill " + b"m" * 256 + b"\n",
            [EndProcess(7), KillModel("m" * 255)],
        ),
    ],
)
def test_only_lines_of_the_one_form_count(pipe: KillPipe, written: bytes, wanted: list[KillOrder]) -> None:
    os.write(pipe.write_end, written)
    assert pipe.read() == wanted
    assert pipe.read() == []


def test_a_line_may_come_in_pieces(pipe: KillPipe) -> None:
    taken = []
    for piece in (b"ki", b"ll m", b"_direct", b"\nkill ", b"b\n"):
        os.write(pipe.write_end, piece)
        taken.append(pipe.read())
    assert taken == [[], [], [], [KillModel("m_direct")], [KillModel("b")]]


def test_a_line_that_never_ends_is_not_kept_and_the_next_one_counts(pipe: KillPipe) -> None:
    tracemalloc.start()
    for _ in range(100):
        os.write(pipe.write_end, b"kill " * 800)
        assert pipe.read() == []
    kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, kill_pipe.__file__)])
    tracemalloc.stop()
    # A part of the 400,000 bytes that were written; some thousand are the interpreter's own.
    assert sum(trace.size for trace in kept.traces) < 16_000
    os.write(pipe.write_end, b"kill a\nkill b\n")
    assert pipe.read() == [KillModel("b")]


def test_a_writer_never_waits(pipe: KillPipe) -> None:
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            os.write(pipe.write_end, b"kill a\n" * 500)


LINES = st.lists(st.sampled_from([b"kill a", b"kill b_direct", b"nonsense", b"kill ..", b"", b"x" * 600]), max_size=8)


@given(LINES, st.lists(st.integers(1, 40), max_size=30))
def test_cutting_it_up_changes_nothing(lines: list[bytes], cuts: list[int]) -> None:
    """The same orders, in the same order, however the bytes arrive."""
    data = b"".join(line + b"\n" for line in lines)
    wanted = [KillModel(line[5:].decode()) for line in lines if line in (b"kill a", b"kill b_direct")]
    with contextlib.closing(KillPipe()) as pipe:
        taken = []
        for cut in [*cuts, len(data)]:
            piece, data = data[:cut], data[cut:]
            os.write(pipe.write_end, piece)
            taken += pipe.read()
            taken += pipe.read()
    assert list(dict.fromkeys(taken)) == list(dict.fromkeys(wanted))
    assert len(taken) <= len(wanted)
