"""How far something long is, for whoever waits at a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

# What is done before anybody looks shows nothing.
_FEWEST = 20
_MOST_LINES = 200


@contextlib.contextmanager
def show_progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    """Count steps on a line of standard error, if that is a terminal; gives what counts one, in any thread."""
    if length < _FEWEST or not sys.stderr.isatty():
        yield lambda: None
        return
    lock = threading.Lock()
    every = max(1, length // _MOST_LINES)
    done = 0

    def count() -> None:
        nonlocal done
        with lock:
            done += 1
            if done % every == 0 or done == length:
                print(f"\r{label}: {done} of {length}", end="", file=sys.stderr, flush=True)

    try:
        yield count
    finally:
        print(file=sys.stderr, flush=True)
