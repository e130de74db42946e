"""The faults of models, packed: what one does to itself, what it does to its mates, and that all of it mends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.servers import packed_models, pids
from tests.support.servers.asking import Answer, ask, at_once, codes, health, metric, ready
from tests.support.servers.factor_model import loaded, schwift
from tests.support.servers.packed_models import HOST, PACKED, in_host
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

DEADLINE = 3.0
MATES = ("times", "other", "picky")
MATES_ROWS = (("times", [[1.0, 2.0]]), ("other", [[1.0, 2.0]]), ("picky", [[3.0]]))


@contextmanager
def packed(folder: Path, deadline: float = DEADLINE) -> Iterator[Server]:
    models = packed_models.put_all(folder)
    with serving(models, folder, **PACKED, PREDICT_TIMEOUT_SECONDS=str(deadline)) as server:
        assert len(pids.stubs(server, HOST)) == 1, server.output
        yield server


def factor(server: Server, name: str = "times") -> float:
    answer = ask(server, name, [[1.0, 2.0]])
    assert answer.status == 200, answer
    first, second = answer.body["predictions"][0]
    assert second == 2 * first
    return float(first)


def assert_mates_are_well(server: Server) -> None:
    assert (factor(server), factor(server, "other")) == (3.0, 5.0)
    assert ask(server, "picky", [[3.0]]).body["predictions"][0][0] == pytest.approx(9.0)
    assert ask(server, "times", [[1.0, 2.0]], "predict_batched").body["predictions"] == [[3.0, 6.0]]


def ask_one(server: Server, endpoint: str, number: int) -> Answer:
    """One of four: a row that raises, and rows of three models that do not."""
    asked = [("picky", [[9.0]]), ("picky", [[2.0]]), ("times", [[1.0, 2.0]]), ("other", [[1.0, 2.0]])]
    name, rows = asked[number % 4]
    return ask(server, name, rows, endpoint)


def test_R7_a_row_that_raises_fails_alone_in_a_call_of_several_models(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        for endpoint in ("predict", "predict_batched"):
            answers = at_once(32, partial(ask_one, server, endpoint))
            assert {(answer.status, answer.code) for answer in answers[::4]} == {(500, "model_error")}
            assert all(answer.body["predictions"][0][0] == pytest.approx(4.0) for answer in answers[1::4])
            assert all(answer.body["predictions"] == [[3.0, 6.0]] for answer in answers[2::4])
            assert all(answer.body["predictions"] == [[5.0, 10.0]] for answer in answers[3::4])
            assert "Traceback" not in str([answer.body for answer in answers])
        assert metric(server, "schwift_breaker_opened_total") == 0


def test_R8_R9_an_answer_that_is_none_is_its_own_requests_error(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        rows = [[1e308, 1.0], [1.0, 2.0]]
        answers = at_once(16, lambda i: ask(server, "times", [rows[i % 2]]))
        assert codes(answers[::2]) == [(502, "bad_model_output")] * 8
        assert all(answer.body["predictions"] == [[3.0, 6.0]] for answer in answers[1::2])
        assert_mates_are_well(server)


def test_R5_a_host_that_is_killed_in_a_call_is_back_with_all_its_models(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        with in_host(server, packed_models.SLOW_TEXT) as answers:
            pids.kill(*pids.stubs(server, HOST))
        assert codes(answers) in ([(503, "model_process_dead")], [(504, "deadline_exceeded")])
        wait_for(lambda: ready(server), 20)
        assert_mates_are_well(server)
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]
        # One death is nobody's habit.
        assert metric(server, "schwift_pack_moved_out_total") == 0


def replaced(server: Server, host: list[int]) -> bool:
    return not set(host) & set(pids.stubs(server, HOST)) and bool(pids.stubs(server, HOST))


def test_R6_a_model_that_hangs_twice_is_moved_out_and_its_mates_go_on(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        for _ in range(2):
            host = pids.stubs(server, HOST)
            assert ask(server, "words", [packed_models.ENDLESS_TEXT]).status in (503, 504)
            wait_for(partial(replaced, server, host), 40)
            wait_for(lambda: ready(server), 40)
            # The new process loads a model with the first request, within its deadline unless the machine is busy.
            wait_for(lambda: all(ask(server, name, rows).status == 200 for name, rows in MATES_ROWS), 40)
            assert_mates_are_well(server)
        wait_for(lambda: metric(server, "schwift_pack_moved_out_total", model_name="words") == 1)
        wait_for(lambda: pids.stubs(server, "words_alone"), 20)
        wait_for(lambda: ready(server), 20)
        assert "words" in server.output and "moved out" in server.output
        assert "process of its own" in health(server, "words")["reason"]
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]
        # It hangs for itself alone from now on.
        host = pids.stubs(server, HOST)
        hanging = threading.Thread(target=lambda: ask(server, "words", [packed_models.ENDLESS_TEXT]))
        hanging.start()
        try:
            for _ in range(20):
                assert_mates_are_well(server)
        finally:
            hanging.join()
        assert pids.stubs(server, HOST) == host


def test_R11_a_model_that_holds_too_much_is_moved_out(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    packed_models.put_words(models, max_memory_mb=1)
    with serving(models, tmp_path, **PACKED, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        assert_mates_are_well(server)
        # As a text of a million words leaves it.
        text = " ".join(f"{number:x}b" for number in range(200_000))
        host = pids.stubs(server, HOST)
        assert ask(server, "words", [text]).status == 200
        wait_for(lambda: metric(server, "schwift_pack_moved_out_total", model_name="words") == 1)
        assert "words is moved out of its pack: it holds more than its max_memory_mb" in server.output
        assert_mates_are_well(server)
        assert pids.stubs(server, HOST) == host
        # Its own process holds more than that with nothing loaded, and is not ended for it.
        wait_for(lambda: metric(server, "schwift_model_memory_bytes", model_name="words") > 10 * 2**20)
        wait_for(lambda: len(pids.stubs(server, "words_alone")) == 1)
        own = pids.stubs(server, "words_alone")
        time.sleep(12)
        assert (health(server, "words")["state"], pids.stubs(server, "words_alone")) == ("ready", own)
        assert metric(server, "schwift_model_recoveries_total") == 0


def test_R13_requests_past_their_deadline_are_dropped_before_they_are_sent(tmp_path: Path) -> None:
    # The slow one is to be answered, however busy the machine is.
    with packed(tmp_path, deadline=10 * DEADLINE) as server:
        with in_host(server, packed_models.SLOW_TEXT):
            answers = at_once(8, lambda i: ask(server, MATES[i % 2], [[1.0, 2.0]], x_request_timeout_ms="300"))
        assert codes(answers) == [(504, "deadline_exceeded")] * 8
        wait_for(lambda: ready(server), 20)
        assert_mates_are_well(server)
        assert metric(server, "schwift_queued") == 0


def test_R19_a_packed_model_is_reloaded_three_times_under_load(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    with serving(models, tmp_path, **PACKED) as server, loaded(server) as load:
        for number in (2, 4, 6):
            packed_models.put_times(models, number)
            done = schwift(server, models, "reload", **PACKED)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert factor(server) == number
            assert factor(server, "other") == 5.0
        done = schwift(server, models, "rollback", "times", **PACKED)
        assert (done.returncode, done.stderr) == (0, "")
        assert factor(server) == 4.0
        load.stop()
        assert set(load.answers) == {3.0, 2.0, 4.0, 6.0}, load.answers


def test_R19_models_join_and_leave_a_pack_under_load(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    with serving(models, tmp_path, **PACKED) as server, loaded(server) as load:
        packed_models.put_times(models, 7, "fresh")
        for path in (models / "other").iterdir():
            path.unlink()
        done = schwift(server, models, "reload", **PACKED)
        assert (done.returncode, done.stderr) == (0, "")
        assert (factor(server), factor(server, "fresh")) == (3.0, 7.0)
        assert ask(server, "other", [[1.0, 2.0]]).status == 404
        # One leaves for a process of its own, and comes back.
        packed_models.put_times(models, 8, "fresh", pack=False)
        assert schwift(server, models, "reload", **PACKED).returncode == 0
        assert factor(server, "fresh") == 8.0
        assert pids.stubs(server, "fresh_direct")
        packed_models.put_times(models, 9, "fresh")
        assert schwift(server, models, "reload", **PACKED).returncode == 0
        assert factor(server, "fresh") == 9.0
        wait_for(lambda: not pids.stubs(server, "fresh_direct"))
        load.stop()
        assert set(load.answers) == {3.0}, load.answers


def test_R20_a_broken_new_version_leaves_the_old_one_serving(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    settings = {**PACKED, "SCHWIFT_CHECK": "off"}
    with serving(models, tmp_path, **settings) as server, loaded(server) as load:
        packed_models.put_times(models, 9)
        (models / "times" / "sample.json").write_text('{"features": [[1.0, 1.0]], "predictions": [[3.0, 3.0]]}')
        done = schwift(server, models, "reload", **settings)
        assert done.returncode == 1
        assert "its answers are not those of its sample.json" in done.stderr
        assert (factor(server), factor(server, "other")) == (3.0, 5.0)
        (models / "times" / "sample.json").unlink()
        packed_models.put_times(models, 2)
        assert schwift(server, models, "reload", **settings).returncode == 0
        load.stop()
        assert set(load.answers) == {3.0, 2.0}, load.answers


def test_R35_a_host_is_not_killed_for_the_adapters_own_sleep(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        stubs = sorted(pids.stubs(server))
        with in_host(server, packed_models.SLOW_TEXT):
            for pid in pids.adapters(server):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(2 * DEADLINE)
            for pid in pids.adapters(server):
                os.kill(pid, signal.SIGCONT)
        wait_for(lambda: ready(server))
        assert_mates_are_well(server)
        assert sorted(pids.stubs(server)) == stubs
        assert metric(server, "schwift_model_recoveries_total") == 0


def test_native_clients_see_each_model_under_its_own_names(tmp_path: Path) -> None:
    with packed(tmp_path) as server:
        body = {"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}]}
        for name, by in (("times", 3.0), ("other", 5.0)):
            for triton_model in (name, f"{name}_direct"):
                url = f"http://{server.triton_http}/v2/models/{triton_model}"
                answer = httpx.post(f"{url}/infer", json=body, timeout=30).json()
                assert answer["outputs"][0]["data"] == [by, 2 * by], answer
                assert [item["name"] for item in httpx.get(url).json()["inputs"]] == ["features"]
        text = {"inputs": [{"name": "features", "shape": [1, 1], "datatype": "BYTES", "data": ["ab"]}]}
        answer = httpx.post(f"http://{server.triton_http}/v2/models/words/infer", json=text, timeout=30).json()
        assert answer["outputs"][0]["data"] == [1]
