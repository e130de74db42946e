"""Starting and ending: what is said, what it ends with, and that nothing is left."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from converter.spec.manifest import read_manifest
from tests.e2e import sample_models
from tests.e2e.server import ROOT, environment, launch, leftovers, serving, shared_memory, start, stop


def one_example(folder: Path, name: str = "multiply") -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / name, models / name)
    return models


def wait_for(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    before = shared_memory()
    server = start(one_example(tmp_path), tmp_path)
    statuses: list[int] = []
    over = threading.Event()

    def load() -> None:
        with httpx.Client() as client:
            while not over.is_set():
                try:
                    answer = client.post(f"{server.url}/predict/multiply", json={"features": [[1, 2, 3]]})
                except httpx.TransportError:
                    return
                statuses.append(answer.status_code)

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    wait_for(lambda: len(statuses) > 50)
    code = stop(server.process, number)
    over.set()
    for client in clients:
        client.join()
    assert code == 0, server.output
    assert set(statuses) <= {200, 503}
    assert leftovers(tmp_path) == []
    assert shared_memory() <= before


def test_a_kill_while_models_load_leaves_nothing(tmp_path: Path) -> None:
    """A model that never ends loading is the worst moment: Triton waits for it."""
    before = shared_memory()
    models = one_example(tmp_path)
    stuck = models / "multiply" / "model.py"
    stuck.write_text(
        stuck.read_text(encoding="utf-8").replace(
            "        self.factor", "        import time; time.sleep(600)\n        self.factor"
        ),
        encoding="utf-8",
    )
    process, _ = launch(models, tmp_path)
    wait_for(lambda: len(shared_memory() - before) > 0)
    assert stop(process) == 0
    assert leftovers(tmp_path) == []
    assert shared_memory() <= before


def test_a_kill_during_the_build_leaves_nothing(tmp_path: Path) -> None:
    process, log = launch(one_example(tmp_path, "iris_onnx"), tmp_path)
    wait_for(lambda: any("build-repo" in line for line in leftovers(tmp_path)))
    assert stop(process) == 0, log.read_text(encoding="utf-8")
    assert leftovers(tmp_path) == []


def test_death_of_serve_ends_its_children(tmp_path: Path) -> None:
    """kill -9 leaves nobody to clean up: the kernel tells the children."""
    before = shared_memory()
    server = start(one_example(tmp_path), tmp_path)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not [line for line in leftovers(tmp_path) if not line.startswith("/")])
    wait_for(lambda: shared_memory() <= before)


def test_a_port_in_use_is_exit_2_and_names_the_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, log = launch(one_example(tmp_path), tmp_path, "--port", str(port))
        assert process.wait(30) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in log.read_text(encoding="utf-8")
    assert not (tmp_path / "model_repository").exists()


def test_two_servers_do_not_share_a_port(tmp_path: Path) -> None:
    """Not even while both start: the second says so, and does not take the first's models for its own."""
    models = one_example(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    first, first_log = launch(models, tmp_path / "first", "--port", port)
    wait_for(lambda: any("build-repo" in line for line in leftovers(tmp_path / "first")))
    second, second_log = launch(models, tmp_path / "second", "--port", port)
    assert second.wait(30) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in second_log.read_text(encoding="utf-8")
    wait_for(lambda: "ready: 1 of 1" in first_log.read_text(encoding="utf-8"), 60)
    assert stop(first) == 0


def test_one_port_for_two_things_is_exit_2(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process, log = launch(one_example(tmp_path), tmp_path, "--port", port, "--triton-grpc-port", port)
    assert process.wait(30) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["HTTP", "GRPC", "METRICS"])
def test_tritons_ports_are_settings(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process, log = launch(one_example(tmp_path), tmp_path, **{f"SCHWIFT_TRITON_{name}_PORT": port})
        assert process.wait(30) == 2
    assert f"SCHWIFT_TRITON_{name}_PORT" in log.read_text(encoding="utf-8")


def test_a_bad_config_is_exit_2_and_starts_nothing(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    config = models / "multiply" / "model_config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("preferred_batch_size", "prefered_batch_size"))
    process, log = launch(models, tmp_path)
    assert process.wait(30) == 2
    text = log.read_text(encoding="utf-8")
    assert "model_config.yaml:11: model.prefered_batch_size: unknown key (did you mean preferred_batch_size?)" in text
    assert leftovers(tmp_path) == []


def test_a_model_that_does_not_load_is_said_and_the_others_serve(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    code = "import no_such_package\n\n\nclass Broken:\n    pass\n"
    sample_models.python_model(models, "broken", "model:Broken", code, "[-1, 1]", "float32")
    code = "class Telling:\n    def __init__(self):\n        raise RuntimeError('db://user:hunter2@host/etc/secret')\n"
    sample_models.python_model(models, "telling", "model:Telling", code, "[-1, 1]", "float32")
    with serving(models, tmp_path) as server:
        assert "not ready: 1 of 3 models" in server.output
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        reason = "the model needs no_such_package, which is not installed: pip install no_such_package"
        broken = {"state": "failed", "reason": reason, "load_seconds": None, "regime": "idle"}
        assert health.json()["models"]["broken"] == broken
        raised = "the model's code raised RuntimeError while it was loaded: the server's log has the details"
        assert health.json()["models"]["telling"]["reason"] == raised
        assert "hunter2" not in health.text and "hunter2" in server.output
        refused = server.post("predict", "broken", [[1.0]])
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.post("predict", "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]
        assert httpx.get(f"{server.url}/health/live").status_code == 200


def test_a_model_whose_process_dies_is_loaded_again(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    code = (
        "import os\n\n\nclass Fatal:\n    def predict(self, X):\n"
        "        if (X < 0).any():\n            os._exit(3)\n        return X\n"
    )
    sample_models.python_model(models, "fatal", "model:Fatal", code, "[-1, 1]", "float32")
    with serving(models, tmp_path) as server:
        for endpoint in ("predict", "predict_batched"):
            response = server.post(endpoint, "fatal", [[-1.0]])
            assert (response.status_code, response.json()["code"]) == (503, "model_process_dead")
            assert int(response.headers["Retry-After"]) >= 1
            health = httpx.get(f"{server.url}/health")
            assert (health.status_code, health.json()["models"]["multiply"]["state"]) == (503, "ready")
            assert health.json()["models"]["fatal"]["state"] in ("unavailable", "loading")
            assert server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200
            wait_for(lambda: httpx.get(f"{server.url}/health").status_code == 200)
            assert server.post(endpoint, "fatal", [[5.0]]).json()["predictions"] == [[5.0]]


def test_serving_leaves_the_repository_as_it_was_built(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    with serving(models, tmp_path) as server:
        server.post("predict", "multiply", [[1, 2, 3]])
        done = subprocess.run(
            [sys.executable, "-m", "converter", "build-repo", "--models", str(models), "--check"],
            cwd=tmp_path,
            env=environment(tmp_path, {}),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, "up to date" in done.stdout) == (0, True), done.stdout + done.stderr
        # Python may add its caches; what was built is as it was.
        for name, digest in read_manifest(server.repository).files.items():
            assert hashlib.sha256((server.repository / name).read_bytes()).hexdigest() == digest, name


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
