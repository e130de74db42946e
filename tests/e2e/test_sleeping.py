"""Models that sleep, in a real server: lazy ones, idle ones, and those for which a pack has no room."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from schwift.commands.model_memory import ask_memory
from tests.support.servers import factor_model, packed_models, pids
from tests.support.servers.asking import ask, at_once, health, metric, ready
from tests.support.servers.packed_models import HOST, PACKED
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

MIB = 1024 * 1024
# What each model of a pack holds, and how much of it a pack has room for.
BALLAST_MB, MOST_MB = 40, 100


def factor(server: Server, name: str, endpoint: str = "predict") -> float:
    answer = ask(server, name, [[1.0, 2.0]], endpoint)
    assert answer.status == 200, answer
    first, second = answer.body["predictions"][0]
    assert second == 2 * first
    return float(first)


def state(server: Server, name: str) -> str:
    return str(health(server, name)["state"])


@pytest.fixture(scope="module")
def sleepers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two models of their own processes, one that is lazy and one that goes to sleep, and a pack where one does."""
    folder = tmp_path_factory.mktemp("sleeping")
    models = folder / "models"
    factor_model.put(models, 2, "lazy", more="  load: lazy\n")
    factor_model.put(models, 3, "idle", more="  idle_unload: 2s\n")
    packed_models.put_times(models, 5, "drowsy", idle_unload="2s")
    packed_models.put_times(models, 7, "awake")
    with serving(models, folder, **PACKED) as running:
        yield running


def test_a_lazy_model_is_loaded_for_its_first_request(sleepers: Server) -> None:
    assert (state(sleepers, "lazy"), ready(sleepers)) == ("asleep", True)
    wait_for(lambda: not pids.stubs(sleepers, "lazy_direct") and not pids.stubs(sleepers, "lazy"))
    assert factor(sleepers, "lazy") == 2.0
    assert (state(sleepers, "lazy"), len(pids.stubs(sleepers, "lazy_direct"))) == ("ready", 1)
    assert factor(sleepers, "lazy", "predict_batched") == 2.0


def test_an_idle_model_gives_its_process_up_and_has_it_back(sleepers: Server) -> None:
    for _ in range(2):
        wait_for(lambda: state(sleepers, "idle") == "asleep")
        wait_for(lambda: not pids.stubs(sleepers, "idle_direct") and not pids.stubs(sleepers, "idle"))
        assert ready(sleepers)
        # Triton says a moment later that it has unloaded the model.
        wait_for(lambda: metric(sleepers, "schwift_model_memory_bytes", model_name="idle") == 0, 5)
        assert factor(sleepers, "idle") == 3.0
        assert (state(sleepers, "idle"), len(pids.stubs(sleepers, "idle_direct"))) == ("ready", 1)


def test_an_idle_model_of_a_pack_sleeps_in_it_and_wakes(sleepers: Server) -> None:
    host = pids.stubs(sleepers, HOST)
    for endpoint in ("predict", "predict_batched"):
        wait_for(lambda: state(sleepers, "drowsy") == "asleep")
        assert (ready(sleepers), state(sleepers, "awake")) == (True, "ready")
        assert factor(sleepers, "drowsy", endpoint) == 5.0
        wait_for(lambda: state(sleepers, "drowsy") == "ready")
    assert factor(sleepers, "awake") == 7.0
    assert pids.stubs(sleepers, HOST) == host


def put_heavy(models: Path, by: float, name: str, **keys: Any) -> None:
    """Write a model that multiplies, and that holds memory besides."""
    packed_models.put_times(models, by, name, **keys)
    model: LinearRegression = joblib.load(models / name / "m.joblib")
    # Not an array, which would be mapped from the file and take no memory until it is read.
    model.ballast_ = bytes(BALLAST_MB * MIB)
    joblib.dump(model, models / name / "m.joblib")


@contextmanager
def heavy_pack(folder: Path) -> Iterator[Server]:
    """A server of three models in one process, which has room for two, with two workers."""
    for by, name in ((2, "a"), (3, "b"), (4, "c")):
        put_heavy(folder / "models", by, name)
    settings = {**PACKED, "SCHWIFT_PACK_MEMORY_MB": str(MOST_MB), "SCHWIFT_WORKERS": "2"}
    with serving(folder / "models", folder, **settings) as server:
        yield server


def held(server: Server, *names: str) -> set[str]:
    """Which of the models are in memory, as they were measured last."""
    sizes = {name: metric(server, "schwift_model_memory_bytes", model_name=name) for name in names}
    assert all(size == 0 or size > 0.9 * BALLAST_MB * MIB for size in sizes.values()), sizes
    return {name for name, size in sizes.items() if size}


def states(server: Server, *names: str) -> list[set[str]]:
    """The states of models, as each of several workers knows them."""
    return [{state(server, name) for _ in range(8)} for name in names]


def test_a_pack_without_room_lets_the_model_sleep_that_was_asked_least_lately(tmp_path: Path) -> None:
    with heavy_pack(tmp_path) as server:
        assert [factor(server, name) for name in "abc"] == [2.0, 3.0, 4.0]
        wait_for(lambda: held(server, *"abc") == {"b", "c"})
        wait_for(lambda: states(server, *"abc") == [{"asleep"}, {"ready"}, {"ready"}])
        # It is loaded again for who asks, and another one sleeps in its place.
        assert (factor(server, "b"), factor(server, "a"), ready(server)) == (3.0, 2.0, True)
        wait_for(lambda: held(server, *"abc") == {"a", "b"})
        wait_for(lambda: states(server, *"abc") == [{"ready"}, {"ready"}, {"asleep"}])
        [host] = pids.stubs(server, HOST)
        for _ in range(3):
            assert [factor(server, name, "predict_batched") for name in "cab"] == [4.0, 2.0, 3.0]
        assert pids.stubs(server, HOST) == [host]
        wait_for(partial(metric, server, "schwift_pack_memory_bytes", pack="default"))


def resident(pid: int) -> int:
    """The bytes of a process's own, without what it shares with files."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def test_a_model_is_put_to_sleep_in_all_processes_of_its_pack(tmp_path: Path) -> None:
    put_heavy(tmp_path / "models", 2, "drowsy", pack="two", instances=2, idle_unload="3s")
    packed_models.put_times(tmp_path / "models", 3, "awake", pack="two", instances=2)
    with serving(tmp_path / "models", tmp_path) as server:
        hosts = pids.stubs(server, "two_pack_direct")
        assert len(hosts) == 2

        def held_by_both() -> int:
            return sum(map(resident, hosts))

        def are_full(empty: int) -> bool:
            for host in hosts:
                # While one stands still, the other one is asked: answers are quick, and one could give all of them.
                os.kill(host, signal.SIGSTOP)
                go_on = threading.Timer(0.5, os.kill, (host, signal.SIGCONT))
                go_on.start()
                answers = at_once(16, lambda _: ask(server, "drowsy", [[1.0, 2.0]]))
                go_on.join()
                assert {answer.status for answer in answers} == {200}
            return held_by_both() - empty > 1.9 * BALLAST_MB * MIB

        def are_empty(full: int) -> bool:
            # The libraries stay, which one of them may not have had before.
            return full - held_by_both() > 1.8 * BALLAST_MB * MIB

        for _ in range(2):
            wait_for(lambda: state(server, "drowsy") == "asleep")
            # Both have what is asked of both, and no more.
            wait_for(lambda: max(map(resident, hosts)) - min(map(resident, hosts)) < BALLAST_MB * MIB / 2)
            wait_for(partial(are_full, held_by_both()))
            full = held_by_both()
            wait_for(lambda: state(server, "drowsy") == "asleep")
            wait_for(partial(are_empty, full))
        assert pids.stubs(server, "two_pack_direct") == hosts


def test_what_a_model_holds_in_two_processes_is_counted_twice_in_the_metrics_and_the_table(tmp_path: Path) -> None:
    for by, name in ((2, "a"), (3, "b")):
        put_heavy(tmp_path / "models", by, name, pack="two", instances=2)
    with serving(tmp_path / "models", tmp_path) as server:

        def are_measured() -> bool:
            answers = at_once(16, lambda i: ask(server, "ab"[i % 2], [[1.0, 2.0]]))
            sizes = [metric(server, "schwift_model_memory_bytes", model_name=name) for name in "ab"]
            return {answer.status for answer in answers} == {200} and min(sizes) > 1.9 * BALLAST_MB * MIB

        wait_for(are_measured)
        wait_for(lambda: metric(server, "schwift_pack_memory_bytes", pack="two") > 0)

        def agree() -> bool:
            models = {item.name: item for item in ask_memory(server.url)}
            whole = models["a"].process_bytes
            assert whole is not None and whole == models["b"].process_bytes
            # What both processes have by the kernel's count.
            real = sum(map(resident, pids.stubs(server, "two_pack_direct")))
            sizes = [models[name].model_bytes for name in "ab"]
            assert sizes == [metric(server, "schwift_model_memory_bytes", model_name=name) for name in "ab"]
            rest = metric(server, "schwift_pack_memory_bytes", pack="two")
            assert rest + sum(filter(None, sizes)) == whole
            # The rest has no model in it, and is not what is left if they are taken away twice.
            return 0.8 * real < whole < 1.5 * real and rest > 0.3 * (real - 4 * BALLAST_MB * MIB) > 0

        wait_for(agree)
