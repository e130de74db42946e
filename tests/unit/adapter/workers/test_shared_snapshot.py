"""What one process writes and others read."""

from __future__ import annotations

import os
import time

import pytest

from adapter.workers.shared_snapshot import Bulletin


def test_a_text_is_read_once_and_by_everybody() -> None:
    board = Bulletin()
    assert board.read(0) is None
    board.publish(b"one")
    number, text = board.read(0) or (0, b"")
    assert text == b"one"
    assert board.read(number) is None
    board.publish(b"")
    later = board.read(number)
    assert later is not None and later[0] != number and later[1] == b""
    assert board.read(0) == later


def test_a_text_that_is_too_long_changes_nothing() -> None:
    board = Bulletin(8)
    board.publish(b"12345678")
    with pytest.raises(ValueError, match="9 bytes"):
        board.publish(b"123456789")
    assert board.read(0) == (2, b"12345678")


def test_what_a_dead_writer_left_is_not_read_and_the_next_writer_goes_on() -> None:
    board = Bulletin()
    board.publish(b"one")
    board._head[0] = 3
    assert board.read(0) is None
    board.publish(b"two")
    assert board.read(2) == (4, b"two")


def test_no_reader_ever_sees_half_a_text() -> None:
    """A fork writes as fast as it can, each text of one letter."""
    board = Bulletin()
    pid = os.fork()
    if pid == 0:
        for i in range(200_000):
            board.publish(b"abcdefghij"[i % 10 : i % 10 + 1] * (1 + i % 997))
        os._exit(0)
    seen, texts, ends = 0, 0, time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < ends
        if news := board.read(seen):
            seen, text = news
            texts += 1
            assert len(set(text)) == 1
    assert texts > 0
