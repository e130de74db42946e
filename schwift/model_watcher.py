"""`schwift serve --watch`: looks at models/ each second, on any file system, and reloads once a change is over."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from converter.schema.model import LOCK_FILES
from converter.schema.settings import Settings
from schwift.process_group import ProcessGroup

_POLL_SECONDS = 1.0
# A model is often several files, copied one after the other.
_QUIET_SECONDS = 1.0
_STOP_SECONDS = 5.0
_PASSED_OVER = {"__pycache__", ".git", ".ipynb_checkpoints"}

# Each file's time of change, in nanoseconds, its size and its number.
Snapshot = Mapping[str, tuple[int, int, int]]


def snapshot(folder: Path) -> Snapshot:
    """Note each file below a folder; one that vanishes meanwhile is left out."""
    found: dict[str, tuple[int, int, int]] = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _PASSED_OVER]
        for name in files:
            # A build writes it beside a model's config.
            if name in LOCK_FILES and os.path.dirname(where) == os.fspath(folder):
                continue
            path = os.path.join(where, name)
            with contextlib.suppress(OSError):
                stat = os.stat(path)
                found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


class ModelChanges:
    """Notice that a change of the models is over, since nothing moved for a second."""

    def __init__(self, now: Snapshot) -> None:
        self._served = self._last = now
        self._moved = 0.0

    def over(self, now: Snapshot, time: float) -> bool:
        """Return, once for each change, that it is over; `time` is in seconds of any one clock."""
        if now != self._last:
            self._last, self._moved = now, time
            return False
        if now == self._served or time - self._moved < _QUIET_SECONDS:
            return False
        self._served = now
        return True


@contextlib.contextmanager
def watching(settings: Settings, served: Snapshot, say: Callable[[str], None]) -> Iterator[None]:
    """Reload after each change of the models, in a thread, until the block ends. `served` is what was built."""
    stop = threading.Event()
    # Ours, since a reload that is ended half-way leaves its scratch files.
    with tempfile.TemporaryDirectory(prefix="schwift-watch-") as scratch:
        thread = threading.Thread(target=_watch, args=(settings, served, scratch, stop, say), name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_POLL_SECONDS + 2 * _STOP_SECONDS)


def _watch(
    settings: Settings, served: Snapshot, scratch: str, stop: threading.Event, say: Callable[[str], None]
) -> None:
    changes = ModelChanges(served)
    while not stop.wait(_POLL_SECONDS):
        if changes.over(snapshot(settings.model_directory), time.monotonic()):
            say(f"{settings.model_directory} changed: reloading")
            code = _reload(settings, scratch, stop)
            if code is None:
                return
            if code != 0:
                say(f"not reloaded (code {code}): what was served is served; waiting for the next change")


def _reload(settings: Settings, scratch: str, stop: threading.Event) -> int | None:
    """Run a `schwift reload` that prints to our own output; its exit code, None if we were stopped meanwhile."""
    command = [sys.executable, "-I", "-m", "converter", "reload"]
    command += ["--models", str(settings.model_directory), "--repository", str(settings.repository)]
    reload = ProcessGroup("the reload", command, {**os.environ, "TMPDIR": scratch})
    try:
        # Its own waits have deadlines, so it ends.
        while (code := reload.exit_code()) is None:
            if stop.wait(0.1):
                return None
        return code
    finally:
        reload.stop(_STOP_SECONDS)
