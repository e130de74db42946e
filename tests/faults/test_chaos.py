"""The chaos run and the overload bench themselves, cut short."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.open_files import open_files
from tests.support.servers.on_time import one_of_three, within
from tests.support.servers.server import ROOT, environment


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", *arguments, "--output", str(folder / "found")],
        cwd=ROOT, env=environment(folder, {}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip


# Each recovery is to take 10 s at most.
@pytest.mark.timed
def test_chaos_for_half_a_minute(tmp_path: Path) -> None:
    done = run(tmp_path, "tests.chaos", "--minutes", "0.5", "--seed", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found" / "chaos.json").read_text())
    assert found["violations"] == {}
    assert {bar["what"] for bar in found["bars"] if not bar["met"]} == set()
    assert len(found["faults"]) >= 3
    assert all(fault["recovered"] >= fault["ended"] for fault in found["faults"])
    assert f"| {found['faults'][0]['kind']} | " in (tmp_path / "found" / "chaos.md").read_text()
    assert (tmp_path / "found" / "chaos.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_lost_is_found() -> None:
    """A connection that nobody uses, and a pipe; not a connection in use."""
    before = open_files(os.getpid(), unused_ms=500)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        address = listener.getsockname()
        lost, used = (stack.enter_context(socket.create_connection(address)) for _ in range(2))
        stack.enter_context(listener.accept()[0])
        stack.enter_context(listener.accept()[0])
        stack.enter_context(socket.socket())
        for end in os.pipe():
            stack.callback(os.close, end)
        time.sleep(1)
        used.send(b"still there")
        names = [f"{host}:{port}" for host, port in (address, lost.getsockname())]
        assert open_files(os.getpid(), unused_ms=500) - before == {
            f"TCP {names[0]}, listens": 1,
            f"TCP to {names[0]}, unused": 1,
            f"TCP to {names[1]}, unused": 1,
            "a socket that is not connected": 1,
            "pipe": 2,
        }
    assert open_files(os.getpid(), unused_ms=500) == before


@pytest.mark.timed
def test_five_times_the_load_that_saturates(tmp_path: Path) -> None:
    """What does not hang on how busy the machine is; the bench itself holds the times.

    Only the goodput does, where a neighbour takes a core after the peak was measured: that may be repeated.
    """

    def attempt() -> None:
        run(tmp_path, "tests.bench.overload", "--seconds", "1")
        found = json.loads((tmp_path / "found" / "overload.json").read_text())
        assert len(found["overload"]) == 4
        for case in found["overload"]:
            counts = Counter(case["counts"])
            assert set(counts) <= {"ok", "overloaded", "deadline_exceeded"}, case
            # With a deadline shorter than the queue all of them may expire instead: the slower the machine, the more.
            shed = counts["overloaded"] + (counts["deadline_exceeded"] if case["timeout_ms"] else 0)
            assert shed > counts["ok"], case
            assert case["lost"] == case["unsent"] == case["unanswered"] == 0, case
        for case in found["overload"]:
            within(case["peak"] / case["goodput"], 1 / 0.8)

    one_of_three(attempt)
