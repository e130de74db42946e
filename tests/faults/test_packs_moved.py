"""Packs as a whole: two beside each other, a move-out that fails, and several workers that share a pack."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.servers import factor_model, packed_models, pids
from tests.support.servers.asking import Answer, ask, at_once, codes, get, health, metric, ready
from tests.support.servers.packed_models import HOST, PACKED, in_host
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

DEADLINE = 3.0
# Requests of a new connection each go to any of the workers.
MANY = 32
# The pack of models with batch sizes up to 128, and 256 in a rush.
LARGE = "default-rcd187b5"


def put_two_packs(models: Path) -> Path:
    """Two models that multiply in the pack `left`, and one that raises and one that hangs in the pack `right`."""
    packed_models.put_times(models, 3, pack="left")
    packed_models.put_times(models, 5, "other", pack="left")
    packed_models.put_words(models, pack="right")
    packed_models.put_picky(models, pack="right")
    return models


def factors(server: Server) -> list[float]:
    answers = [ask(server, name, [[1.0, 2.0]]) for name in ("times", "other")]
    assert codes(answers) == [(200, "ok")] * 2, answers
    return [answer.body["predictions"][0][1] / 2 for answer in answers]


def kill_host(server: Server, host: str) -> None:
    """End a host's process, and wait until another one serves."""
    killed = pids.stubs(server, host)
    assert len(killed) == 1
    pids.kill(*killed)
    wait_for(lambda: len(pids.stubs(server, host)) == 1 and pids.stubs(server, host) != killed, 40)
    wait_for(lambda: ready(server), 40)


def pack_of(server: Server, name: str) -> str | None:
    listed = json.loads(get(server, "/available_models")[1])["models"]
    [pack] = [one.get("pack") for one in listed if one["name"] == name]
    return None if pack is None else str(pack)


def test_R5_two_packs_are_served_beside_each_other_and_one_that_ends_leaves_the_other(tmp_path: Path) -> None:
    models = put_two_packs(tmp_path / "models")
    with serving(models, tmp_path, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        assert [pack_of(server, name) for name in ("times", "other", "words", "picky")] == ["left"] * 2 + ["right"] * 2
        left = pids.stubs(server, "left_pack_direct")
        assert len(left) == 1
        assert factors(server) == [3.0, 5.0]
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]
        # One host ends in a call; the other one's models are asked all the while.
        others: list[Answer] = []
        over = threading.Event()

        def ask_left() -> None:
            while not over.is_set():
                others.append(ask(server, "times", [[1.0, 2.0]]))

        asking = threading.Thread(target=ask_left)
        asking.start()
        try:
            with in_host(server, packed_models.ENDLESS_TEXT) as answers:
                kill_host(server, "right_pack_direct")
        finally:
            over.set()
            asking.join()
        assert codes(answers) in ([(503, "model_process_dead")], [(504, "deadline_exceeded")])
        assert {answer.status for answer in others} == {200}
        assert {str(answer.body["predictions"]) for answer in others} == {"[[3.0, 6.0]]"}
        assert pids.stubs(server, "left_pack_direct") == left
        assert metric(server, "schwift_model_recoveries_total", model_name="times") == 0
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]
        assert ask(server, "picky", [[3.0]]).body["predictions"][0][0] == pytest.approx(9.0)
        for pack in ("left", "right"):
            wait_for(partial(metric, server, "schwift_pack_memory_bytes", pack=pack))


def test_R5_models_with_larger_batches_share_a_process_of_their_own_and_end_alone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    sizes = {"preferred_batch_size": [16, 32, 64, 128], "rush_batch_size": 256}
    for number, name in enumerate(("times", "other")):
        packed_models.put_times(models, (3, 5)[number], name)
        packed_models.put_times(models, 7 + number, f"large_{name}", **sizes)
    with serving(models, tmp_path, **PACKED) as server:
        assert (
            f"note: pack {LARGE}: apart from pack default by preferred_batch_size and rush_batch_size" in server.output
        )
        assert f"pack {LARGE}: 2 models in one process" in server.output
        packs = {name: pack_of(server, name) for name in ("times", "other", "large_times", "large_other")}
        assert packs == {"times": "default", "other": "default", "large_times": LARGE, "large_other": LARGE}
        # A call of the one takes more rows than one of the other.
        rows = [[float(number), 1.0] for number in range(256)]
        assert ask(server, "large_other", rows).body["predictions"] == [[8 * x, 8.0] for x, _ in rows]
        assert factors(server) == [3.0, 5.0]
        small = pids.stubs(server, HOST)
        assert len(small) == 1
        kill_host(server, f"{LARGE}_pack_direct")
        assert ask(server, "large_times", [[1.0, 2.0]], "predict_batched").body["predictions"] == [[7.0, 14.0]]
        assert factors(server) == [3.0, 5.0]
        assert pids.stubs(server, HOST) == small


def test_R6_a_model_that_cannot_be_moved_out_stays_and_says_so_once(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    with serving(models, tmp_path, **PACKED, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        (server.repository / "words_alone" / "config.pbtxt").write_text("name: 'another'\n")
        for _ in range(2):
            with in_host(server, packed_models.ENDLESS_TEXT):
                kill_host(server, HOST)
        wait_for(lambda: health(server, "words")["reason"], 40)
        said = health(server, "words")
        # The new process has loaded it again, or does so for whoever asks next.
        assert said["state"] in ("ready", "asleep")
        assert said["reason"].startswith("it harms its pack and cannot be moved out of it: Triton could not load it")
        # Some passes of the reconciler, one a second.
        time.sleep(4)
        assert server.output.count("words could not be moved out of its pack") == 1
        assert health(server, "words")["reason"] == said["reason"]
        assert pids.stubs(server, "words_alone") == []
        assert metric(server, "schwift_pack_moved_out_total") == 0
        assert pack_of(server, "words") == "default"
        # It is served where it is, and so are its mates.
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]
        assert factors(server) == [3.0, 5.0]


def is_asleep(server: Server, name: str) -> bool:
    return bool(health(server, name)["state"] == "asleep")


def ask_row(server: Server, name: str, number: int) -> Answer:
    return ask(server, name, [[1.0, 2.0]])


def ask_mates(server: Server) -> None:
    """Many at once, which all workers have to do with."""

    def one(number: int) -> Answer:
        return ask(
            server, ("times", "other")[number % 2], [[number, 1.0]], ("predict", "predict_batched")[number % 3 % 2]
        )

    answers = at_once(MANY, one)
    assert codes(answers) == [(200, "ok")] * MANY
    for number, answer in enumerate(answers):
        by = (3, 5)[number % 2]
        assert answer.body["predictions"] == [[number * by, by]]


def test_workers_share_a_pack_that_dies_and_models_that_sleep(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    packed_models.put_times(models, 7, "sleepy", idle_unload="1s")
    packed_models.put_times(models, 9, "lazy", load="lazy", pack=False)
    settings = {**PACKED, "SCHWIFT_WORKERS": "3", "PREDICT_TIMEOUT_SECONDS": "10"}
    with serving(models, tmp_path, **settings) as server:
        # Their parent is one of them.
        assert len(pids.adapters(server)) == 4
        ask_mates(server)
        kill_host(server, HOST)
        # Each worker says so for itself.
        wait_for(lambda: all(ready(server) for _ in range(MANY)))
        ask_mates(server)
        assert metric(server, "schwift_model_recoveries_total", reason="died") == 1
        for name, by in (("sleepy", 7.0), ("lazy", 9.0)):
            wait_for(partial(is_asleep, server, name))
            answers = at_once(MANY, partial(ask_row, server, name))
            assert codes(answers) == [(200, "ok")] * MANY
            assert all(answer.body["predictions"] == [[by, 2 * by]] for answer in answers)
        assert len(pids.stubs(server, "lazy_direct")) == 1
        ask_mates(server)


def test_R5_a_pack_is_not_left_failed_for_the_deaths_that_one_of_its_models_made(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    with serving(models, tmp_path, **PACKED, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        for _ in range(2):
            with in_host(server, packed_models.ENDLESS_TEXT):
                kill_host(server, HOST)
        wait_for(lambda: pack_of(server, "words") is None, 40)
        # With those two it would be the fifth time.
        for _ in range(3):
            wait_for(lambda: len(pids.stubs(server, HOST)) == 1 and ready(server), 40)
            kill_host(server, HOST)
        assert factors(server) == [3.0, 5.0]
        assert ask(server, "words", [packed_models.WELL_TEXT]).body["predictions"] == [[1]]


def test_R5_a_pack_that_ended_too_often_is_back_after_a_reload(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    with serving(models, tmp_path, **PACKED) as server:
        for _ in range(4):
            kill_host(server, HOST)
        pids.kill(*pids.stubs(server, HOST))
        wait_for(lambda: "is failed" in str(health(server, "times")["reason"]))
        assert health(server, "times")["reason"] == (
            "its pack default_pack is failed: a process of the model died, 5 times within 10 minutes: "
            "it is left until it is built anew"
        )
        answer = ask(server, "times", [[1.0, 2.0]])
        assert (answer.status, answer.code) == (503, "model_unavailable")
        done = factor_model.schwift(server, models, "reload", **PACKED)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        wait_for(lambda: ready(server))
        assert factors(server) == [3.0, 5.0]
        assert len(pids.stubs(server, HOST)) == 1
        assert [pack_of(server, name) for name in ("times", "other", "words", "picky")] == ["default"] * 4
        # It begins anew: another end of it is mended.
        kill_host(server, HOST)
        assert factors(server) == [3.0, 5.0]


def test_R6_a_load_that_hangs_keeps_no_mate_from_its_load(tmp_path: Path) -> None:
    models = packed_models.put_all(tmp_path)
    settings = {**PACKED, "PREDICT_TIMEOUT_SECONDS": "20", "SCHWIFT_MODEL_LOAD_TIMEOUT_SECONDS": "10"}
    with serving(models, tmp_path, **settings) as server:
        assert factors(server) == [3.0, 5.0]
        # Whoever opens it waits for what is never written.
        file = server.repository / "words_alone" / "1" / "member.json"
        file.unlink()
        os.mkfifo(file)
        kill_host(server, HOST)
        host = pids.stubs(server, HOST)

        def ask_words() -> Answer:
            return ask(server, "words", [packed_models.WELL_TEXT], x_request_timeout_ms="1000")

        assert ask_words().code == "deadline_exceeded"
        # The new process has none of them yet.
        assert factors(server) == [3.0, 5.0]
        assert ask(server, "picky", [[3.0]], "predict_batched").body["predictions"][0][0] == pytest.approx(9.0)

        def has_failed() -> bool:
            ask_words()
            return bool(health(server, "words")["state"] == "failed")

        # It is found out that it is not there, asleep then, and loaded for the next request.
        wait_for(has_failed, 120)
        assert "took over 10 s" in health(server, "words")["reason"]
        answer = ask_words()
        assert (answer.status, answer.code) == (503, "model_unavailable")
        assert factors(server) == [3.0, 5.0]
        assert pids.stubs(server, HOST) == host
