"""`schwift bench` as a user runs it, against a real server."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.servers.ports import free_port
from tests.support.servers.server import ROOT, Served

BRIEF = ("--duration", "1", "--warmup", "0.2")
PNG = b"\x89PNG\r\n\x1a\n"


def command(*options: str | Path) -> list[str]:
    return [sys.executable, "-m", "schwift", "bench", *map(str, options)]


def bench(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), cwd=ROOT, capture_output=True, text=True, timeout=90)


def rows_of(output: str) -> list[list[str]]:
    """The table, less its head."""
    table = output.partition("\n\n")[0].splitlines()
    assert table[0].split()[:1] == ["MODEL"]
    return [line.split() for line in table[1:]]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_models_take_turns_and_each_answer_is_compared(server: Served) -> None:
    done = bench(server.url, "iris_onnx", "iris_logreg", "--connections", "4", "--check", *BRIEF)
    assert done.returncode == 0, done.stdout + done.stderr
    table = rows_of(done.stdout)
    assert [row[:2] for row in table] == [["iris_onnx", "4"], ["iris_logreg", "4"]]
    for row in table:
        assert number(row[2]) > 0 and row[2] == row[3] and row[-1] == "0"
        assert [number(cell) for cell in row[4:9]] == sorted(number(cell) for cell in row[4:9])
    assert "Closed loop" in done.stdout
    # No terminal, no bar.
    assert done.stderr == ""


def test_without_a_model_all_are_asked(server: Served) -> None:
    done = bench(server.url, "--rate", "20", "--duration", "0.5", "--warmup", "0")
    answers = {row[0]: number(row[2]) for row in rows_of(done.stdout)}
    for name in ("iris_forest", "iris_logreg", "iris_onnx", "multiply", "nearest_city", "torch_mlp"):
        assert answers[name] > 0, done.stdout


def test_v2_has_rows_of_numbers_and_texts(server: Served) -> None:
    done = bench(server.url, "iris_onnx", "multiply", "torch_mlp", "--endpoint", "v2", "--rows", "3", *BRIEF)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in rows_of(done.stdout):
        assert abs(number(row[3]) - 3 * number(row[2])) <= 2


def test_a_ramp_finds_its_knee_and_is_kept_drawn_and_compared(server: Served, tmp_path: Path) -> None:
    saved, drawn = tmp_path / "a.json", tmp_path / "a.png"
    options = ("--endpoint", "predict_batched", "--ramp", "1,4", "--max-p99", "60000", *BRIEF)
    done = bench(server.url, "iris_onnx", *options, "--json", saved, "--png", drawn)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all steps were answered without errors and with p99 up to 60000 ms" in done.stdout
    assert drawn.read_bytes().startswith(PNG)
    whole = json.loads(saved.read_text(encoding="utf-8"))
    assert (whole["url"], whole["server"]["name"], whole["options"]["ramp"]) == (server.url, "schwift", [1, 4])
    assert whole["interrupted"] is False
    for result, connections in zip(whole["results"], (1, 4), strict=True):
        count = result["outcomes"]["200"]
        assert (result["connections"], result["endpoint"], result["rows"]) == (connections, "predict_batched", 1)
        assert sum(filled for _, filled in result["histograms"]["200"]["counts"]) == count > 0
        assert abs(sum(second["good"] for second in result["per_second"]) - count) <= connections
        assert result["bytes_received"] > result["bytes_sent"] / 10 > 0
    compared = bench("--compare", saved, saved)
    assert compared.returncode == 0, compared.stderr
    assert len(re.findall(r"^iris_onnx .* 1\.00 +too short to tell$", compared.stdout, re.MULTILINE)) == 6


def test_an_open_loop_sends_as_many_as_are_due(server: Served, tmp_path: Path) -> None:
    saved = tmp_path / "open.json"
    done = bench(server.url, "iris_onnx", "--rate", "50,100", *BRIEF, "--json", saved)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(saved.read_text(encoding="utf-8"))["results"]
    assert [result["outcomes"] for result in results] == [{"200": 50}, {"200": 100}]
    random = bench(server.url, "iris_onnx", "--rate", "100", "--poisson", *BRIEF, "--json", saved)
    assert random.returncode == 0 and "Open loop" in random.stdout
    (result,) = json.loads(saved.read_text(encoding="utf-8"))["results"]
    assert result["poisson"] is True and 60 <= result["outcomes"]["200"] <= 140


def test_bodies_of_a_file_are_sent_in_turn_and_refusals_counted(server: Served, tmp_path: Path) -> None:
    data = tmp_path / "bodies.jsonl"
    data.write_text('{"features": [[5.1, 3.5, 1.4, 0.2]]}\n{"features": [[1]]}\n', encoding="utf-8")
    done = bench(server.url, "iris_onnx", "--data", data, "--rate", "100", *BRIEF)
    assert done.returncode == 1
    found = re.search(r"iris_onnx, 100 requests/s: 200 x 50, 4\d\d (\w+) x 50", done.stdout)
    assert found is not None, done.stdout


def test_more_connections_than_files_are_allowed_are_had_or_said(server: Served) -> None:
    """A shell allows 1,024 files of often a million that a process may have."""

    def limited(most: int) -> subprocess.CompletedProcess[str]:
        options = command(server.url, "iris_onnx", "--connections", "300", *BRIEF)
        return subprocess.run(
            ["prlimit", f"--nofile=128:{most}", *options], cwd=ROOT, capture_output=True, text=True, timeout=90
        )

    assert limited(1024).returncode == 0
    refused = limited(256)
    assert (refused.returncode, "300 connections are more than the 256 files" in refused.stderr) == (2, True)


def test_what_does_not_fit_is_said_before_anything_is_sent(server: Served, tmp_path: Path) -> None:
    cases: list[tuple[Sequence[Any], str]] = [
        ((f"http://127.0.0.1:{free_port()}",), "start `schwift serve`, or name another URL"),
        ((server.url, "nope"), "no model nope on /predict: there are"),
        (("iris_onnx",), "iris_onnx is no address of a server: write http://HOST:PORT"),
        ((server.url, "--ramp", "1,x"), "'1,x' is no list of connections from 1 to 10,000: write 1,4,16"),
        ((server.url, "--ramp", "1,10001"), "'1,10001' is no list of connections from 1 to 10,000: write 1,4,16"),
        ((server.url, "--rate", "5,1e7"), "'5,1e7' is no list of rates over 0 and up to 1,000,000: write 100,200"),
        ((server.url, "--ramp", "1", "--rate", "5"), "leave out --connections and --rate"),
        ((server.url, "--poisson"), "say how many a second by --rate"),
        ((server.url, "--endpoint", "predict_batched", "--rows", "2"), "takes one row a request"),
        ((server.url, "--data", tmp_path / "none.json"), "none.json cannot be read"),
        ((server.url, "--json", tmp_path / "no" / "a.json"), "cannot be written"),
        ((server.url, "--compare", "a", "b"), "asks no server: leave out URL"),
        (("--compare", tmp_path / "a", tmp_path / "b"), "a cannot be read"),
        (("--compare", "a", "b", "--json", tmp_path / "c"), "writes no file: leave out --json and --png"),
        (("--compare", "a", "b", "--png", tmp_path / "c"), "writes no file: leave out --json and --png"),
    ]
    for options, said in cases:
        done = bench(*options)
        assert (done.returncode, done.stdout) == (2, ""), options
        assert said in done.stderr


@contextmanager
def watched(*options: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """It, with a terminal for what is no result."""
    mine, its = pty.openpty()
    with subprocess.Popen(command(*options), cwd=ROOT, stdout=subprocess.PIPE, stderr=its) as process:
        os.close(its)
        try:
            yield process, mine
        finally:
            process.kill()
            os.close(mine)


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 30
    while wanted not in seen:
        readable, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, seen
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            # Its other end is closed.
            break
    return seen


def test_a_terminal_shows_a_bar(server: Served) -> None:
    with watched(server.url, "iris_onnx", "--connections", "2", *BRIEF) as (process, terminal):
        seen = read_until(terminal, b"nothing says this")
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert re.search(rb"\r\x1b\[K\[#+\.+\] [01] of 1\.2 s  0 errors  1/1 iris_onnx  2 connections", seen), seen
    # It is gone before the table is there.
    assert seen.endswith(b"\r\x1b[K") and b"iris_onnx" in output


def test_ctrl_c_prints_what_was_measured_so_far(server: Served, tmp_path: Path) -> None:
    saved = tmp_path / "part.json"
    options = (server.url, "iris_onnx", "--duration", "60", "--warmup", "0", "--json", saved)
    with watched(*options) as (process, terminal):
        read_until(terminal, b"answers/s")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    ((name, *_, errors),) = rows_of(output.decode())
    assert (name, errors) == ("iris_onnx", "0")
    whole = json.loads(saved.read_text(encoding="utf-8"))
    assert whole["interrupted"] is True
    assert 1 <= whole["results"][0]["seconds"] < 60
