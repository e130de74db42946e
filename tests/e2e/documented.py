"""What the documents show, tried: their console lines, their Python, and the README's own model."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import documents
from tests.support.servers.server import Served, environment, serving


def write_readmes_model(models: Path) -> None:
    """Make the model of the README in `models` as it says: run its script, and write its config."""
    folder = models / "flowers"
    folder.mkdir()
    (script,) = documents.blocks(documents.page("README.md"), "python")
    (config,) = documents.blocks(documents.page("README.md"), "yaml")
    (folder / "train.py").write_text(script.replace("models/flowers", str(folder)), encoding="utf-8")
    (folder / "model_config.yaml").write_text(config, encoding="utf-8")
    subprocess.run([sys.executable, folder / "train.py"], check=True, timeout=120)


def take_tour(pickle: Path, folder: Path) -> tuple[list[float], str]:
    """Take the README's tour with this pickle, in this folder: seconds of both commands, and what verify printed."""
    tour = documents.section(documents.page("README.md"), "## From a pickle to a server")
    (block,) = documents.blocks(tour, "bash")
    serve, verify = (shlex.split(line, comments=True) for line in block.splitlines())
    assert (serve[:2], verify[:2]) == (["schwift", "serve"], ["schwift", "verify"])
    here = [str(pickle) if argument == f"path/to/{pickle.name}" else argument for argument in serve[2:]]
    began = time.monotonic()
    with serving(None, folder, *here) as server:
        served = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *verify], cwd=folder, env=environment(folder, {}), capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        verified = time.monotonic()
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.process.poll() is None, server.output
    return [served - began, verified - served], done.stdout


def run_curl(server: Served, command: str) -> str:
    """What a documented `curl …` prints, sent to the server of the tests."""
    here = command.replace("localhost:8005", urlsplit(server.url).netloc)
    assert here != command
    done = subprocess.run(["bash", "-c", f"{here} -sS"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(server: Served, code: str) -> str:
    """What a documented block of Python prints, with the addresses of the server of the tests."""
    there = (urlsplit(server.url).netloc, server.triton_http, server.triton_grpc)
    here = code
    for documented, address in zip(("localhost:8005", "localhost:8000", "localhost:8001"), there, strict=True):
        here = here.replace(documented, address)
    assert here != code
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_answer(printed: str, wanted: str) -> None:
    """Hold what a command printed to the line that the document shows below it."""
    assert same(json.loads(printed), json.loads(wanted)), printed


def same(answer: Any, wanted: Any) -> bool:
    """Equal, floats to 1e-5, and `…` for what differs from run to run."""
    if wanted == "…":
        return bool(answer)
    if isinstance(wanted, dict):
        return set(answer) == set(wanted) and all(same(answer[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(answer) == len(wanted) and all(same(a, w) for a, w in zip(answer, wanted, strict=True))
    if isinstance(wanted, float):
        return bool(answer == pytest.approx(wanted, rel=1e-5))
    return bool(answer == wanted)
