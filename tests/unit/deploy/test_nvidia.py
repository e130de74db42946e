"""deploy/nvidia.sh: what NVIDIA's tritonserver is told, beside what the wheel's is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from converter.schema.settings import Settings, load_settings
from schwift.triton import sealed_start
from schwift.triton.installation import Installation
from schwift.triton.standalone import standalone_command, standard_ports
from tests.support.servers.server import ROOT

SCRIPT = ROOT / "deploy" / "nvidia.sh"
# It writes down what it was told, and ends.
SERVER = """#!/bin/sh
printf '%s\\n' "$@" >"$TOLD"
"""
# Where the files of a server are, its addresses (all are the default), and its prefix of shared memory.
OF_THE_WHEEL = (
    "--backend-directory", "--cache-directory", "--backend-config=python,shm", "--http-address", "--grpc-address",
    "--metrics-address",
)  # fmt: skip


def told(folder: Path, **settings: str) -> list[str]:
    """The arguments that the script gives to tritonserver."""
    server = folder / "tritonserver"
    server.write_text(SERVER, encoding="utf-8")
    server.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "TOLD": str(folder / "told"), **settings}
    for path in (SCRIPT, Path(sealed_start.__file__)):
        shutil.copy(path, folder / path.name)
    environment["SCHWIFT_TRITON_KEY_FILE"] = str(folder / "triton.key")
    (folder / "triton.key").write_text(sealed_start.KEY, encoding="ascii")
    command = ["sh", str(folder / SCRIPT.name)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        assert process.wait(60) == 0
    finally:
        # The one that keeps the log small.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return (folder / "told").read_text(encoding="utf-8").splitlines()


def told_by_us(folder: Path, settings: Settings) -> list[str]:
    wheel = Installation(folder / "tritonserver", folder, folder, None, {})
    command = standalone_command(wheel, settings, folder, "0.0.0.0", standard_ports(settings), caching=True)
    return [option for option in command[1:] if not option.startswith(OF_THE_WHEEL)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"DEBUG_MODEL": "on"},
        {"SCHWIFT_CACHE_BYTES": "1048576", "SCHWIFT_OTLP_ENDPOINT": "http://collector:4318/"},
    ],
)
def test_it_is_told_what_the_wheels_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    environment = {"SCHWIFT_REPOSITORY": str(tmp_path / "current"), "LOG_DIRECTORY": str(tmp_path / "logs"), **given}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sorted(told(tmp_path, **environment)) == sorted(told_by_us(tmp_path, load_settings(None)))


@pytest.mark.parametrize(("word", "on"), [("True", True), ("1", True), ("yes", True), ("False", False), ("", False)])
def test_debug_mode_is_read_as_everywhere(tmp_path: Path, word: str, on: bool) -> None:
    assert (f"--log-file={tmp_path}/triton.log" in told(tmp_path, DEBUG_MODE=word, LOG_DIRECTORY=str(tmp_path))) is on
