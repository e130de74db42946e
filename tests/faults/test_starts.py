"""Starting: what is in the way is said, and what does not load does not stop the others."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.server import ROOT, launch, leftovers, shared_memory, stop, wait_for
from tests.support.servers.serving import serving


def one_example(folder: Path, name: str = "multiply") -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / name, models / name)
    return models


def test_R24_a_port_in_use_is_exit_2_and_names_the_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, log = launch(one_example(tmp_path), tmp_path, "--port", str(port))
        assert process.wait(30) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in log.read_text(encoding="utf-8")
    assert not (tmp_path / "model_repository").exists()


def test_R24_two_servers_do_not_share_a_port(tmp_path: Path) -> None:
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


def test_R24_one_port_for_two_things_is_exit_2(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process, log = launch(one_example(tmp_path), tmp_path, "--port", port, "--triton-grpc-port", port)
    assert process.wait(30) == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["HTTP", "GRPC", "METRICS"])
def test_R24_tritons_ports_are_settings(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process, log = launch(one_example(tmp_path), tmp_path, **{f"SCHWIFT_TRITON_{name}_PORT": port})
        assert process.wait(30) == 2
    assert f"SCHWIFT_TRITON_{name}_PORT" in log.read_text(encoding="utf-8")


def test_R15_a_model_that_does_not_load_is_said_and_the_others_serve(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    code = "class Broken:\n    def __init__(self):\n        import no_such_package\n"
    sample_models.python_model(models, "broken", "model:Broken", code, "[-1, 1]", "float32")
    code = "class Telling:\n    def __init__(self):\n        raise RuntimeError('db://user:hunter2@host/etc/secret')\n"
    sample_models.python_model(models, "telling", "model:Telling", code, "[-1, 1]", "float32")
    with serving(models, tmp_path) as server:
        assert "not ready: 1 of 3 models" in server.output
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        reason = (
            "the model needs no_such_package, which is not installed in the model's environment: "
            "pip install no_such_package"
        )
        broken = {"state": "failed", "reason": reason, "load_seconds": None, "regime": "idle", "breaker": "closed"}
        broken["last_failure"] = None
        assert health.json()["models"]["broken"] == broken
        raised = "the model's code raised RuntimeError while it was loaded: the server's log has the details"
        assert health.json()["models"]["telling"]["reason"] == raised
        assert "hunter2" not in health.text and "hunter2" in server.output
        refused = server.post("predict", "broken", [[1.0]])
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.post("predict", "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]
        assert httpx.get(f"{server.url}/health/live").status_code == 200


def test_R21_a_kill_while_models_load_leaves_nothing(tmp_path: Path) -> None:
    """A model that never ends loading is the worst moment: Triton waits for it."""
    models = one_example(tmp_path)
    stuck = models / "multiply" / "model.py"
    stuck.write_text(
        stuck.read_text(encoding="utf-8").replace(
            "        self.factor", "        import time; time.sleep(600)\n        self.factor"
        ),
        encoding="utf-8",
    )
    process, _ = launch(models, tmp_path)
    wait_for(lambda: shared_memory(tmp_path))
    assert stop(process) == 0


HANGS = """
import time


class Hangs:
    def __init__(self):
        time.sleep(600)
"""
DIES = """
import os


class Dies:
    def __init__(self):
        os._exit(3)
"""


def test_R15_a_model_that_hangs_or_dies_at_load_fails_and_the_others_serve(tmp_path: Path) -> None:
    models = one_example(tmp_path)
    sample_models.python_model(models, "hangs", "model:Hangs", HANGS, "[-1, 1]", "float32")
    sample_models.python_model(models, "dies", "model:Dies", DIES, "[-1, 1]", "float32")
    with serving(models, tmp_path, SCHWIFT_MODEL_LOAD_TIMEOUT_SECONDS="10") as server:
        assert "not ready: 1 of 3 models" in server.output
        health = httpx.get(f"{server.url}/health/ready")
        assert health.status_code == 503
        states = health.json()["models"]
        assert {name: model["state"] for name, model in states.items()} == {
            "multiply": "ready", "hangs": "failed", "dies": "failed",
        }  # fmt: skip
        assert states["hangs"]["reason"] == "loading took over 10 s"
        assert states["dies"]["reason"]
        for model in ("hangs", "dies"):
            for endpoint in ("predict", "predict_batched"):
                refused = server.post(endpoint, model, [[1.0]])
                assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
                assert int(refused.headers["Retry-After"]) >= 1
        for endpoint in ("predict", "predict_batched"):
            assert server.post(endpoint, "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]


@pytest.mark.parametrize("broken", ["multiply", "multiply_direct"])
def test_R18_a_config_that_was_spoiled_by_hand_fails_its_model_alone(tmp_path: Path, broken: str) -> None:
    """Noticed when Triton reads it again; until then what was loaded from the good one serves."""
    models = one_example(tmp_path)
    shutil.copytree(ROOT / "models" / "iris_onnx", models / "iris_onnx")
    with serving(models, tmp_path) as server:
        config = server.repository / broken / "config.pbtxt"
        config.write_text(config.read_text(encoding="utf-8") + "\ninstance_group [ { count: many\n", encoding="utf-8")
        assert server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200
        os.kill(pids.triton(server), signal.SIGKILL)
        wait_for(lambda: states_of(server.url) == {"iris_onnx": "ready", "multiply": "failed"})
        health = httpx.get(f"{server.url}/health/ready")
        assert health.status_code == 503
        assert (
            health.json()["models"]["multiply"]["reason"]
            == "Triton could not load it: the server's log has the details"
        )
        refused = server.post("predict", "multiply", [[1, 2, 3]])
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        for endpoint in ("predict", "predict_batched"):
            assert server.post(endpoint, "iris_onnx", [[5.1, 3.5, 1.4, 0.2]]).status_code == 200


def states_of(url: str) -> dict[str, str]:
    models = httpx.get(f"{url}/health").json()["models"]
    return {name: model["state"] for name, model in models.items()}
