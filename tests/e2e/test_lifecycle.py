"""Starting and ending: what is said, what it ends with, and that nothing is left."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from converter.schema.manifest import read_manifest
from tests.support.servers import pids
from tests.support.servers.factor_model import answer, put, schwift
from tests.support.servers.server import ROOT, environment, launch, leftovers, serving, stop, wait_for


def one_example(folder: Path, name: str = "multiply") -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / name, models / name)
    return models


def test_a_kill_during_the_build_leaves_nothing(tmp_path: Path) -> None:
    process, log = launch(one_example(tmp_path, "iris_onnx"), tmp_path)
    wait_for(lambda: any("build-repo" in line for line in leftovers(tmp_path)))
    assert stop(process) == 0, log.read_text(encoding="utf-8")
    assert leftovers(tmp_path) == []


def test_a_bad_config_is_exit_2_and_starts_nothing(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    config = models / "multiply" / "model_config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("preferred_batch_size", "prefered_batch_size"))
    process, log = launch(models, tmp_path)
    assert process.wait(30) == 2
    text = log.read_text(encoding="utf-8")
    assert "model_config.yaml:11: model.prefered_batch_size: unknown key (did you mean preferred_batch_size?)" in text
    assert leftovers(tmp_path) == []


def test_serving_leaves_the_repository_as_it_was_built(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    with serving(models, tmp_path) as server:
        server.post("predict", "multiply", [[1, 2, 3]])
        done = subprocess.run(
            [sys.executable, "-m", "schwift", "build-repo", "--models", str(models), "--check"],
            cwd=tmp_path,
            env=environment(tmp_path, {}),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, "up to date" in done.stdout) == (0, True), done.stdout + done.stderr
        # Python may add its caches; what was built is as it was.
        for name, digest in read_manifest(server.repository).files.items():
            assert hashlib.sha256((server.repository / name).read_bytes()).hexdigest() == digest, name


def test_a_reload_anywhere_takes_the_folders_that_are_served(tmp_path: Path) -> None:
    """From a folder without models, by the address of the control alone."""
    models = one_example(tmp_path / "elsewhere")
    elsewhere = tmp_path / "tmp"
    with serving(models, tmp_path, SCHWIFT_CONTROL_SOCKET=str(tmp_path / "control.sock")) as server:
        code = models / "multiply" / "model.py"
        code.write_text(code.read_text(encoding="utf-8") + "\n# Changed.\n", encoding="utf-8")
        settings = environment(tmp_path, {"SCHWIFT_CONTROL_SOCKET": str(tmp_path / "control.sock")})
        del settings["SCHWIFT_REPOSITORY"]
        done = subprocess.run(
            [sys.executable, "-m", "schwift", "reload"], cwd=elsewhere, env=settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert [entry.version for entry in read_manifest(server.repository).models] == [2]


def test_the_makefile_passes_ports_through(tmp_path: Path) -> None:
    """The recipe of `make serve`, with a stand-in that prints what reaches it."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    command = tmp_path / ".venv" / "bin" / "schwift"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\necho $1 $PORT $SCHWIFT_TRITON_GRPC_PORT\n", encoding="utf-8")
    command.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    for line, variables in (
        (["make", "-s", "serve", "PORT=9001", "SCHWIFT_TRITON_GRPC_PORT=9002"], {}),
        (["make", "-s", "serve"], {"PORT": "9001", "SCHWIFT_TRITON_GRPC_PORT": "9002"}),
    ):
        done = subprocess.run(line, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True)
        assert done.stdout == "serve 9001 9002\n", done.stderr


def test_without_ports_a_front_runs_for_a_response_cache_alone() -> None:
    """Nobody else could ask it, before a reload and after."""
    # A socket's path has 107 bytes, of which pytest's own folders take most.
    with tempfile.TemporaryDirectory(prefix="schwift-") as name:
        models = Path(name) / "models"
        put(models, 2)
        put(models, 5, "cached", more="  caching: true\n")
        with serving(models, Path(name), SCHWIFT_TRITON_PORTS="off") as server:
            for factor in (2, 3):
                assert [answer(server, endpoint=way) for way in ("predict", "predict_batched")] == [factor, factor]
                assert answer(server, "cached", "predict_batched") == 5
                assert pids.stubs(server, "times") == []
                # What a reload replaced takes a moment to end.
                wait_for(lambda: len(pids.stubs(server, "times_direct")) == 1)
                assert len(pids.stubs(server, "cached")) == 1
                put(models, factor + 1)
                assert schwift(server, models, "reload", SCHWIFT_TRITON_PORTS="off").returncode == 0
