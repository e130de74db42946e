"""Processes that die in the middle of a `schwift reload`, which takes the place of a recovery or waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from converter.schema.manifest import read_manifest
from tests.support.servers import pids
from tests.support.servers.asking import ready
from tests.support.servers.factor_model import Load, answer, loaded, put
from tests.support.servers.server import Server, environment, serving, wait_for

# So that there is time to kill something, and the served version is not back before the new one is tried.
SLOW, SLOWER = "time.sleep(1.5)", "time.sleep(3)"
# Which processes have begun to load the model, by their numbers.
NOTE = "open({path!r}, 'a').write(str(__import__('os').getpid()) + ' '); "
# What clients may be told meanwhile, beside their numbers.
REFUSALS = {"model_unavailable", "model_process_dead", "breaker_open", "upstream_down", "queue_full", "overloaded"}


def on_trial(server: Server) -> list[int]:
    return [pid for pid in pids.stubs(server) if "/times_direct~" in pids.command(pid)]


def served(server: Server) -> list[int]:
    return pids.stubs(server, "times_direct")


def kill_the_served_while_the_new_one_is_built(server: Server) -> None:
    pids.kill(*served(server))


def kill_the_trial_while_it_serves(server: Server) -> None:
    wait_for(lambda: len(served(server)) == 2)
    pids.kill(*on_trial(server))


def kill_the_new_one_while_it_is_loaded(server: Server) -> None:
    """Not in its first moment: Triton waits for ever for one that has not spoken to it yet (docs/resilience.md)."""
    before, note = served(server), server.log.parent / "loading"
    wait_for(lambda: len(served(server)) == 2)
    (new,) = set(served(server)).difference(before)
    wait_for(lambda: str(new) in note.read_text().split())
    pids.kill(new)


def kill_triton_while_the_trial_serves(server: Server) -> None:
    wait_for(lambda: len(served(server)) == 2)
    pids.kill(pids.triton(server))


def reload_with(server: Server, models: Path, fault: Callable[[Server], None]) -> tuple[int, str]:
    """The exit code, and what went to standard error."""
    command = [sys.executable, "-m", "schwift", "reload", "--models", str(models)]
    with subprocess.Popen(
        command, cwd=models.parent, env=environment(models.parent, {}), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            fault(server)
            error = process.communicate(timeout=120)[1]
        except BaseException:
            process.kill()
            raise
    return process.returncode, error


def errors_of(load: Load) -> set[str]:
    return {json.loads(text)["code"] for text in load.answers if isinstance(text, str)}


@pytest.mark.parametrize(
    ("fault", "succeeds"),
    [
        pytest.param(kill_the_served_while_the_new_one_is_built, True, id="served"),
        pytest.param(kill_the_trial_while_it_serves, True, id="trial"),
        pytest.param(kill_the_new_one_while_it_is_loaded, False, id="new"),
        pytest.param(kill_triton_while_the_trial_serves, False, id="triton"),
    ],
)
def test_R5_R19_death_in_a_reload_ends_in_one_whole_version(
    tmp_path: Path, fault: Callable[[Server], None], succeeds: bool
) -> None:
    models = tmp_path / "models"
    put(models, 1, at_load=SLOWER)
    with serving(models, tmp_path) as server, loaded(server) as load:
        put(models, 2, at_load=NOTE.format(path=str(tmp_path / "loading")) + SLOW)
        code, error = reload_with(server, models, fault)
        assert (code, error == "") == ((0, True) if succeeds else (1, False)), error
        assert succeeds or error.startswith("error: times: "), error
        version = read_manifest(server.repository).models[0].version
        assert version == (2 if succeeds else 1)
        wait_for(lambda: ready(server) and answer(server) == version)
        # And it stays so: nobody who waited for his turn undoes it.
        for _ in range(20):
            assert {answer(server, endpoint=endpoint) for endpoint in ("predict", "predict_batched")} == {version}
        load.stop()
        assert {value for value in load.answers if isinstance(value, float)} == {1.0, 2.0}
        assert errors_of(load) <= REFUSALS
        wait_for(lambda: on_trial(server) == [] and len(served(server)) == 1)
        # A change that works is taken, whatever was before.
        put(models, 3)
        assert reload_with(server, models, lambda _: None) == (0, "")
        assert answer(server) == 3.0
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
