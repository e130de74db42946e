"""The build's side of the process that looks into models' files: what it says of one that ends, or takes too long."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from pathlib import Path

from converter.inspect.discover import ModelSource
from converter.inspect.worker_process import WorkerProcess
from tests.support.models.sample_models import add_source, model_yaml
from tests.support.processes import alive, wait_until


def source(root: Path) -> ModelSource:
    return add_source(root / "models", "m", model_yaml(), {"m.joblib": pickle.dumps("x")})


def workers(scratch: Path) -> list[int]:
    """The processes that have this folder on their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(scratch) in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def test_next_model_gets_another_process_if_one_was_killed(tmp_path: Path) -> None:
    one, scratch = source(tmp_path), tmp_path / "scratch"
    with contextlib.closing(WorkerProcess(scratch)) as worker:
        assert list(worker.ask(one)) == ["facts"]
        (first,) = workers(scratch)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not alive(first))
        # Nobody reads the question.
        assert worker.ask(one) == {"ended": -signal.SIGKILL}
        assert list(worker.ask(one)) == ["facts"]
        (second,) = workers(scratch)
        assert second != first
        # And this one ends in the midst of it.
        os.kill(second, signal.SIGSTOP)
        killer = threading.Timer(0.1, os.kill, (second, signal.SIGKILL))
        killer.start()
        assert worker.ask(one) == {"ended": -signal.SIGKILL}
        killer.join()
    assert workers(scratch) == []


def test_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with contextlib.closing(WorkerProcess(tmp_path / "scratch", seconds=0.01)) as worker:
        assert worker.ask(source(tmp_path)) == {"seconds": 0}
        assert workers(tmp_path / "scratch") == []
