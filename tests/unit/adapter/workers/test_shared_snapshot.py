"""What one process writes and others read."""

from __future__ import annotations

import os
import time

import pytest

from adapter.workers.shared_snapshot import SharedSnapshot


def test_a_text_is_read_once_and_by_everybody() -> None:
    table = SharedSnapshot()
    assert table.read(0) is None
    table.publish(b"one")
    number, text = table.read(0) or (0, b"")
    assert text == b"one"
    assert table.read(number) is None
    table.publish(b"")
    later = table.read(number)
    assert later is not None and later[0] != number and later[1] == b""
    assert table.read(0) == later


def test_a_text_that_is_too_long_changes_nothing() -> None:
    table = SharedSnapshot(8)
    table.publish(b"12345678")
    with pytest.raises(ValueError, match="9 bytes"):
        table.publish(b"123456789")
    assert table.read(0) == (2, b"12345678")


class CutOff(bytes):
    """A text that says it is shorter than it is: writing it fails half-way."""

    def __len__(self) -> int:
        return 1


def test_what_a_dead_writer_left_is_not_read_and_the_next_writer_goes_on() -> None:
    table = SharedSnapshot()
    table.publish(b"one")
    with pytest.raises(IndexError):
        table.publish(CutOff(b"half"))
    assert table.read(0) is None
    table.publish(b"two")
    assert table.read(2) == (4, b"two")


def test_no_reader_ever_sees_half_a_text() -> None:
    """A fork writes as fast as it can, each text of one letter."""
    table = SharedSnapshot()
    pid = os.fork()
    if pid == 0:
        for i in range(200_000):
            table.publish(b"abcdefghij"[i % 10 : i % 10 + 1] * (1 + i % 997))
        os._exit(0)
    seen, texts, ends = 0, 0, time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < ends
        if registry_sync := table.read(seen):
            seen, text = registry_sync
            texts += 1
            assert len(set(text)) == 1
    assert texts > 0
