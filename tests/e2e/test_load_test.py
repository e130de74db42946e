"""The stress tool, run as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.servers.server import ROOT, Served


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tests/load_test.py", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_it_shows_progress_and_a_summary(server: Served) -> None:
    done = run("--url", server.url, "--model", "iris_onnx", "--concurrency", "4", "--duration", "1.5", "--rows", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"1 of 1\.5 s +[1-9]\d* answers/s  0 not 200", done.stderr)
    statuses = re.search(r"^statuses: 200 x (\d+)$", done.stdout, re.MULTILINE)
    rates = re.search(r"^throughput: (\d+) requests/s, (\d+) rows/s$", done.stdout, re.MULTILINE)
    assert statuses and rates
    # Up to four answers, one a connection, came after the window.
    assert int(statuses[1]) - 4 - 1 <= 1.5 * int(rates[1]) <= int(statuses[1]) + 1
    assert abs(int(rates[2]) - 2 * int(rates[1])) <= 1 and int(rates[1]) > 0
    times = [float(value) for value in re.findall(r"(?:p\d+|max) ([\d.]+)", done.stdout)]
    assert len(times) == 5 and times == sorted(times) and times[0] > 0


def test_a_model_that_is_not_there_is_said(server: Served) -> None:
    done = run("--url", server.url, "--model", "nope")
    assert done.returncode == 1
    assert "no model nope on /predict" in done.stderr
