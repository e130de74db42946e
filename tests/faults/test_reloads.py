"""Models changed while they are served: without a gap, and with a way back (R19, R20)."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from converter.schema.manifest import read_manifest
from tests.e2e import sample_models
from tests.e2e.server import Server, environment, wait_for
from tests.faults.serving import serving

CODE = '''
"""A model that multiplies by {factor}."""
import os
import time


class Times:
    def __init__(self):
        {at_load}

    def predict(self, X):
        {at_call}
        return X * {factor}
'''
# Between two requests of a client: 8 of them ask some 300 times a second.
_PAUSE_SECONDS = 0.02
BROKEN = {
    "raises at load": ({"at_load": "raise ValueError('no such file')"}, "does not load: the model's code raised"),
    "hangs at load": ({"at_load": "time.sleep(600)"}, "does not load: loading took over 3 s"),
    "answers in another shape": ({"at_call": "X = X[:, :1]"}, "not what its config promises"),
    "raises on every row": ({"at_call": "raise KeyError('column')"}, "raises an error on a row that the served one"),
    "hangs in a call": ({"at_call": "time.sleep(600)"}, "did not answer a made-up row in time"),
    "dies in a call": ({"at_call": "os._exit(1)"}, "process died"),
}


def put(models: Path, factor: int, name: str = "times", shape: str = "[-1, 2]", more: str = "", **code: str) -> None:
    """Write the model, as its author would change it."""
    folder = models / name
    text = CODE.format(**{"factor": factor, "at_load": "pass", "at_call": "pass", **code})
    if folder.exists():
        (folder / "model.py").write_text(text, encoding="utf-8")
    else:
        sample_models.python_model(models, name, "model:Times", text, shape, "float64", more)


def schwift(server: Server, models: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    options = ["--models", str(models)] if arguments[0] == "reload" else []
    return subprocess.run(
        [sys.executable, "-m", "schwift", *arguments, *options],
        cwd=models.parent, env=environment(models.parent, settings), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def answer(server: Server, name: str = "times", endpoint: str = "predict") -> Any:
    """What the served version makes of 1.0, or the status."""
    response = server.post(endpoint, name, [[1.0, 1.0]])
    return response.json()["predictions"][0][0] if response.status_code == 200 else response.status_code


class Load:
    """Clients that leave a reload its share of the cores, and see a gap of milliseconds.

    `answers` counts what each endpoint made of 1.0; anything but a 200 is its text.
    """

    def __init__(self, server: Server, clients: int = 8) -> None:
        self.answers: Counter[Any] = Counter()
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, number: int) -> None:
        endpoint = ("predict", "predict_batched")[number % 2]
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                response = client.post(f"{self._server.url}/{endpoint}/times", json={"features": [[1.0, 1.0]]})
                good = response.status_code == 200
                self.answers[response.json()["predictions"][0][0] if good else response.text] += 1
                time.sleep(_PAUSE_SECONDS)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def loaded(server: Server) -> Iterator[Load]:
    """Load for the length of a block, which begins when the first ones were answered."""
    load = Load(server)
    load.start()
    try:
        wait_for(lambda: load.answers)
        yield load
    finally:
        load.stop()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_R19_three_reloads_under_load_fail_no_request(tmp_path: Path, workers: str) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path, SCHWIFT_WORKERS=workers) as server, loaded(server) as load:
        for factor in (2, 3, 4):
            put(models, factor)
            done = schwift(server, models, "reload")
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert "times: version" in done.stdout
            # Whoever asks from now on is answered by the new version.
            assert {answer(server, endpoint=endpoint) for endpoint in ("predict", "predict_batched")} == {factor}
        load.stop()
        assert set(load.answers) == {1.0, 2.0, 3.0, 4.0}, load.answers
        assert sum(load.answers.values()) > 500
        assert read_manifest(server.repository).models[0].version == 4
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_R20_broken_new_versions_leave_the_old_one_serving(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    settings = {"SCHWIFT_MODEL_LOAD_TIMEOUT_SECONDS": "3", "PREDICT_TIMEOUT_SECONDS": "2"}
    with serving(models, tmp_path, **settings) as server, loaded(server) as load:
        before = (server.repository / "schwift.json").read_bytes()
        for what, (code, reason) in BROKEN.items():
            put(models, 9, **code)
            done = schwift(server, models, "reload", **settings)
            assert done.returncode == 1, (what, done.stdout)
            assert done.stderr.startswith("error: times: "), what
            assert reason in done.stderr, what
            assert (server.repository / "schwift.json").read_bytes() == before, what
            assert answer(server) == answer(server, endpoint="predict_batched") == 1.0, what
        # The way out is a version that works.
        put(models, 2)
        assert schwift(server, models, "reload", **settings).returncode == 0
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers


def test_new_and_removed_models_and_another_contract(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    put(models, 5, "other")
    with serving(models, tmp_path, SCHWIFT_WORKERS="2") as server:
        put(models, 7, "fresh")
        for path in (models / "other").iterdir():
            path.unlink()
        text = (models / "times" / "model_config.yaml").read_text()
        (models / "times" / "model_config.yaml").write_text(text.replace("[-1, 2]", "[-1, 3]"))
        done = schwift(server, models, "reload")
        assert (done.returncode, done.stderr) == (0, "")
        for _ in range(8):
            with httpx.Client() as client:
                assert client.get(f"{server.url}/health").json()["models"].keys() == {"fresh", "times"}
        assert (answer(server, "fresh"), answer(server, "other")) == (7.0, 404)
        assert answer(server) == 422
        assert server.post("predict", "times", [[1.0, 2.0, 3.0]]).json()["predictions"] == [[1.0, 2.0, 3.0]]
        assert '"fresh"' in httpx.get(f"{server.url}/openapi.json").text
        assert 'model_name="fresh"' in httpx.get(f"{server.url}/metrics").text


def test_R15_failed_model_is_tried_again_by_a_reload_though_nothing_changed(tmp_path: Path) -> None:
    """What it lacked is outside of its folder."""
    models, needed = tmp_path / "models", tmp_path / "needed"
    put(models, 1, at_load=f"open({str(needed)!r})")
    put(models, 5, "other")
    with serving(models, tmp_path) as server:
        assert (answer(server), answer(server, "other")) == (503, 5.0)
        failed = schwift(server, models, "reload")
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: times: the new version does not load: the model's code raised FileNot")
        assert schwift(server, models, "reload", "other").returncode == 0
        needed.touch()
        done = schwift(server, models, "reload", "times")
        assert (done.returncode, done.stderr) == (0, "")
        assert answer(server) == answer(server, endpoint="predict_batched") == 1.0
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_rollback_under_load_and_after_a_restart(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path) as server, loaded(server) as load:
        put(models, 2)
        assert schwift(server, models, "reload", "times").returncode == 0
        done = schwift(server, models, "rollback", "times")
        assert (done.returncode, done.stderr) == (0, "")
        assert answer(server) == answer(server, endpoint="predict_batched") == 1.0
        again = schwift(server, models, "rollback", "times")
        assert again.returncode == 2
        assert "no version before 1" in again.stderr
        up_to_date = schwift(server, models, "reload")
        assert up_to_date.returncode == 0
        assert "version 2, which was rolled back" in up_to_date.stdout
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers
    with serving(models, tmp_path) as server:
        assert answer(server) == 1.0
    missing = schwift(server, models, "reload")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: nothing is served here")


def test_watch_reloads_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path, "--watch") as server, loaded(server) as load:
        put(models, 9, at_load="raise ValueError('no')")
        wait_for(lambda: "not reloaded (code 1)" in server.output, 40)
        assert answer(server) == 1.0
        put(models, 2)
        wait_for(lambda: answer(server) == 2.0, 40)
        # We may be the first who is answered by it.
        wait_for(lambda: 2.0 in load.answers)
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers
