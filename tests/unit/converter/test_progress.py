"""Who waits at a terminal sees how far a build is; what is piped has no bar in it."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from converter.progress import show_progress


class Terminal(io.StringIO):
    """Standard error, if it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, length: int) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with show_progress("writing files", length) as count:
        threads = [threading.Thread(target=lambda: [count() for _ in range(length // 2)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return stream.getvalue()


def test_a_terminal_sees_the_steps_of_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), 1000)
    assert "writing files: 1000 of 1000" in text
    # A thousand lines would be slow to show.
    assert text.count("\r") < 300


def test_nothing_is_shown_of_a_few_steps_or_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), 10) == ""
    assert shown(monkeypatch, io.StringIO(), 1000) == ""
