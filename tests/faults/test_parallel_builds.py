"""Builds of one repository at the same time, as real processes (R27)."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from converter.schema.manifest import read_manifest
from tests.e2e import sample_models
from tests.support.servers.factor_model import answer, put
from tests.support.servers.server import environment, wait_for
from tests.support.servers.serving import serving

NAMES = ("one", "two", "three", "four")
CODE = "class Times:\n    def predict(self, X):\n        return X * {factor}\n"


def put_models(models: Path, factor: int) -> None:
    for name in NAMES:
        shutil.rmtree(models / name, ignore_errors=True)
        sample_models.python_model(models, name, "model:Times", CODE.format(factor=factor), "[-1, 2]", "float64")


def start(folder: Path, *options: str, command: str = "build-repo") -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "schwift", command, "--models", "models", *options],
        cwd=folder, env=environment(folder, {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A run of the tests in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each wrote to standard error; all must end well."""
    said = []
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        said.append(errors)
    return said


def factors(folder: Path) -> dict[str, str]:
    """What each model of the repository multiplies by, as its own source says."""
    repository = folder / "model_repository"
    found = {}
    for entry in read_manifest(repository).models:
        (source,) = (repository / entry.direct / str(entry.version)).glob(f"source/*/{entry.name}/model.py")
        found[entry.name] = source.read_text().rpartition("* ")[2].strip()
    return found


def hold(folder: Path) -> int:
    """The lock of the folder's builds, as another build has it."""
    builds = folder / ".model_repository.builds"
    builds.mkdir(exist_ok=True)
    lock = os.open(builds / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def waits(process: subprocess.Popen[str]) -> str:
    """Its first line to standard error."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_R27_builds_of_single_models_at_once_keep_every_change(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    finish([start(tmp_path)])
    put_models(tmp_path / "models", 2)
    said = finish([start(tmp_path, "--model", name) for name in NAMES])
    assert factors(tmp_path) == dict.fromkeys(NAMES, "2")
    assert {line.partition(" (")[0] for text in said for line in text.splitlines()} <= {"another build is at work"}


def test_R27_full_builds_at_once_end_well(tmp_path: Path) -> None:
    for factor in (1, 2):
        put_models(tmp_path / "models", factor)
        finish([start(tmp_path) for _ in range(4)])
        assert factors(tmp_path) == dict.fromkeys(NAMES, str(factor))
    builds = sorted(path.name for path in (tmp_path / ".model_repository.builds").iterdir())
    assert builds == ["000001", "000002", "lock", "stamps.json"]


def test_R27_build_that_waits_says_for_whom_and_builds_what_is_there_then(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    lock = hold(tmp_path)
    waiting = start(tmp_path)
    assert waits(waiting) == f"another build is at work (process {os.getpid()}): waiting\n"
    put_models(tmp_path / "models", 3)
    os.close(lock)
    finish([waiting])
    assert factors(tmp_path) == dict.fromkeys(NAMES, "3")


def test_R27_check_waits_for_a_build_and_writes_nothing(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    lock = hold(tmp_path)
    waiting = start(tmp_path, "--check")
    assert waits(waiting) == f"another build is at work (process {os.getpid()}): waiting\n"
    os.close(lock)
    finish([waiting])
    assert [path.name for path in (tmp_path / ".model_repository.builds").iterdir()] == ["lock"]


def test_R27_killed_build_leaves_no_lock_and_its_scratch_is_removed(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    builds = tmp_path / ".model_repository.builds"
    killed = start(tmp_path)
    wait_for((builds / "lock").exists)
    killed.kill()
    killed.communicate()
    (builds / "scratch").mkdir(exist_ok=True)
    (builds / "scratch" / "compiled.pt").write_bytes(b"half")
    (builds / "000009.partial").mkdir()
    finish([start(tmp_path)])
    assert factors(tmp_path) == dict.fromkeys(NAMES, "1")
    left = sorted(path.name for path in builds.iterdir() if not path.name.isdigit())
    assert left == ["lock", "stamps.json"]


def test_R27_waiting_build_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 1)
    lock = hold(tmp_path)
    waiting = start(tmp_path)
    waits(waiting)
    began = time.monotonic()
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=60)
    os.close(lock)
    assert waiting.returncode not in (0, None)
    assert time.monotonic() - began < 30
    assert not (tmp_path / "model_repository").exists()


def test_R27_reload_rollback_and_build_at_once_leave_what_is_served_in_the_repository(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path) as server:
        put(models, 2)
        together = [start(tmp_path, command="reload"), start(tmp_path, command="reload"), start(tmp_path)]
        finish(together)
        # The plain build may have been the first: then the server hears of it by the next reload.
        finish([start(tmp_path, command="reload")])
        assert answer(server) == 2.0
        version = read_manifest(server.repository).models[0].version
        assert version == 2
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
