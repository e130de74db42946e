"""New versions in the place of served ones: what is loaded and unloaded when, and where requests go meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.reaper import Processes
from adapter.wiring import adopt
from adapter.workers import counters
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.entries import make_manifest
from tests.support.fakes.outliving import NotedOutliving
from tests.support.lifecycle.reconcilers import make_reloader
from tests.support.lifecycle.reload_bench import NEXT, Bench, version
from tests.support.lifecycle.served_models import make_registry


async def test_new_version_is_tried_then_used_on_trial_then_under_its_own_name() -> None:
    bench = Bench()
    await bench.reloader.stage([version("a", 2)], "~t", bench.said.append)
    assert bench.backend.loads == ["a_direct~t", "a~t"]
    assert [(call.model, len(call.arrays["x"])) for call in bench.backend.calls] == [("a_direct~t", 2), ("a~t", 1)]
    assert (bench.directs()["a"], bench.told) == ("a_direct", [])
    await bench.reloader.switch([version("a", 2)], "~t", NEXT)
    assert (bench.directs(), bench.told) == ({"a": "a_direct~t", "b": "b_direct"}, [1])
    assert (bench.reloader.on_trial, bench.registry.models["a"].ready) == (True, True)
    await bench.reloader.commit(NEXT, bench.said.append)
    assert (bench.directs(), bench.told) == ({"a": "a_direct", "b": "b_direct"}, [1, 2])
    assert bench.registry.models["a"].entry.version == 2
    assert bench.backend.loads[2:] == ["a_direct", "a"]
    assert sorted(bench.backend.unloads) == ["a_direct~t", "a~t"]
    assert not bench.reloader.on_trial
    assert [text.split(" in ")[0] for text in bench.said] == [
        "a: version 2 loaded on trial", "a: version 2 loaded",
    ]  # fmt: skip


async def test_version_that_does_not_load_is_unloaded_and_nothing_is_replaced() -> None:
    bench = Bench()
    text = "failed: [schwift:load_error] the model needs foo\n"
    bench.backend.load_errors["a~t"] = errors.ModelUnavailable("no", text)
    with pytest.raises(errors.ReloadFailed, match=r"^a: the new version does not load: the model needs foo$"):
        await bench.reload(NEXT)
    assert sorted(bench.backend.unloads) == ["a_direct~t", "a~t"]
    assert (bench.directs()["a"], bench.told) == ("a_direct", [])


async def test_process_that_hangs_in_its_load_is_killed_where_somebody_can() -> None:
    class Stuck(FakeBackend):
        async def unload(self, model: str, timeout: float) -> None:
            if model == "a_direct~t":
                raise errors.UpstreamDown("no answer")
            await super().unload(model, timeout)

    bench = Bench()
    stuck = Stuck(load_errors={"a_direct~t": errors.ModelUnavailable("no", "loading took over 60 s")})
    bench.reloader = make_reloader(bench.registry, stuck, bench.table, kill=bench.kill)
    with pytest.raises(errors.ReloadFailed, match="does not load: loading took over 60 s"):
        await bench.reload(NEXT)
    assert (bench.killed, stuck.unloads) == (["a_direct~t"], ["a~t"])


async def test_failed_switch_goes_back_to_what_the_disk_has() -> None:
    bench = Bench()
    bench.backend.load_errors["a"] = errors.ModelUnavailable("no", "out of memory")
    with pytest.raises(errors.ReloadFailed, match="Triton could not load it"):
        await bench.reload(NEXT)
    # Requests stay with the new version on trial until the old one is back.
    assert bench.directs()["a"] == "a_direct~t"
    assert bench.backend.unloads == []
    bench.backend.load_errors.clear()
    await bench.reloader.commit(make_manifest(version("a", 1), version("b", 1)), bench.said.append)
    entry = bench.registry.models["a"].entry
    assert (entry.direct, entry.version) == ("a_direct", 1)
    assert sorted(bench.backend.unloads) == ["a_direct~t", "a~t"]


async def test_models_come_and_go() -> None:
    bench = Bench()
    await bench.reload(make_manifest(version("b", 1), version("c", 1, endpoints=["predict"])))
    assert bench.directs() == {"b": "b_direct", "c": "c_direct"}
    assert set(bench.backend.unloads) == {"a", "a_direct", "c_direct~t"}
    assert bench.said[-1] == "a: served no more"
    assert bench.registry.models["c"].ready
    # A name that comes back has its old row.
    await bench.reload(make_manifest(version("a", 5), version("b", 1)))
    assert bench.directs() == {"a": "a_direct", "b": "b_direct"}
    assert bench.table.names == ["", "a", "b", "c"]


async def test_front_that_is_left_out_is_unloaded() -> None:
    bench = Bench()
    await bench.reload(make_manifest(version("a", 2, endpoints=["predict"]), version("b", 1)))
    assert set(bench.backend.unloads) == {"a", "a_direct~t"}


async def test_processes_of_what_was_replaced_are_looked_after_and_no_others() -> None:
    """Those that Triton did not replace, since it found nothing new, serve on."""

    class Triton(FakeBackend):
        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            await super().load(model, timeout, config)
            if model != "a":
                reaper.there[model] = (len(self.loads) + 100,)

    reaper = NotedOutliving({"a": (1, 2), "a_direct": (3,), "b": (4, 5), "b_direct": (6,)})
    bench = Bench()
    bench.reloader = make_reloader(bench.registry, Triton(), bench.table, bench.tell, reaper=reaper)
    await bench.reload(NEXT)
    # The model, whose front serves on, and the trial.
    assert reaper.told == [(Processes(models=(3,)), True), (Processes(models=(101,), fronts=(102,)), True)]


async def test_without_room_for_a_new_model_nothing_is_loaded() -> None:
    bench = Bench()
    bench.table.add([f"x{i}" for i in range(bench.table.room)])
    with pytest.raises(errors.ReloadFailed, match="1 models are new, and there is room for 0: start the server anew"):
        await bench.reload(make_manifest(version("a", 1), version("b", 1), version("c", 1)))
    assert bench.backend.loads == []


async def test_version_before_is_kept_until_every_worker_has_left_it_but_not_for_ever() -> None:
    bench = Bench(workers=2)
    second = counters.Cell(bench.table, counters.ALL, 1, counters.ADOPTED)

    task = asyncio.create_task(bench.reload(NEXT))
    await asyncio.sleep(0)
    while not bench.told:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.backend.loads == ["a_direct~t", "a~t"], "the other worker may be calling the version before"
    second.set(2)
    await task
    assert bench.backend.loads[2:] == ["a_direct", "a"]


def test_worker_that_hangs_is_waited_for_no_longer_than_a_request_may_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.adopts = False
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    bench.reloader = make_reloader(bench.registry, bench.backend, bench.table, answer_timeout=15, clock=clock)
    asyncio.run(bench.reload(NEXT))
    assert bench.registry.models["a"].entry.version == 2
    assert now[0] > 2 * 20
    assert "a worker has not left the version before" in caplog.text


class Talk:
    """What a made-up row's call of each version makes: an error by the Triton model's name, else zeros."""

    def __init__(self, **errors_of: Exception) -> None:
        self.errors_of = errors_of

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        error = self.errors_of.get(model.replace("~t", "_trial"))
        if error is not None:
            raise error
        return await zeros(model, arrays, outputs)


RAISED = errors.ModelFailed("The model raised an error on this input.", "[schwift:model_error] KeyError: 1")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RAISED, "raises an error on a row that the served one answers"),
        (errors.DeadlineExceeded("late"), "did not answer a made-up row in time"),
        (errors.ModelProcessDead("dead"), "process died on a made-up row"),
        (
            errors.BadModelOutput("wrong", "[schwift:bad_model_output] output y is (2, 1)"),
            r"not what its config promises: output y is \(2, 1\)$",
        ),
        (errors.UpstreamDown("gone."), r"could not be asked: gone\."),
        (
            errors.ModelFailed("raised", "[schwift:model_unfit] ImportError: no module x", unfit=True),
            "the new version cannot answer: ImportError: no module x$",
        ),
    ],
)
def test_version_that_fails_its_made_up_row_is_not_taken(error: Exception, reason: str) -> None:
    for part in ("a_direct_trial", "a_trial"):
        bench = Bench(Talk(**{part: error}))
        with pytest.raises(errors.ReloadFailed, match=f"^a: .*{reason}"):
            asyncio.run(bench.reload(NEXT))
        assert (bench.directs()["a"], bench.told) == ("a_direct", [])


@pytest.mark.parametrize("why", ["the served one raises too", "another input", "no served one"])
def test_error_of_the_models_code_is_a_warning_where_nothing_says_that_the_row_is_good(why: str) -> None:
    raising = {"a_direct_trial": RAISED, "a_direct": RAISED} if why == "the served one raises too" else {}
    new = version("a", 2, inputs=[("other", "float32", (7,))]) if why == "another input" else version("a", 2)
    bench = Bench(Talk(**(raising or {"a_direct_trial": RAISED})))
    if why == "no served one":
        bench.registry.models["a"].status.adopt("failed")
    asyncio.run(bench.reloader.stage([new], "~t", bench.said.append))
    assert bench.said[0].endswith("; it raised KeyError on a made-up row, and nothing says that it should not")


def test_worker_marks_a_generation_once_nothing_of_the_one_before_is_in_flight() -> None:
    class Service:
        busy = True

        def leaving(self) -> bool:
            return self.busy

    bench, service = Bench(), Service()
    mark = counters.Cell(bench.table, counters.ALL, 0, counters.ADOPTED)
    bench.registry.generation = 3

    async def main() -> None:
        task = asyncio.create_task(adopt(bench.registry, service, mark))  # type: ignore[arg-type]  # all that it uses
        await asyncio.sleep(0)
        assert mark.mine == 0
        service.busy = False
        while mark.mine != 3:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_follower_takes_over_reloads_and_a_worker_that_begins_all_of_them() -> None:
    table = counters.make_table(["a", "b"], 3)
    manifest = make_manifest(version("a", 1), version("b", 1))
    leading, following = (make_registry(manifest, table, worker) for worker in range(2))
    leading.replace([version("a", 2), version("c", 1)], ["b"])
    following.follow(leading.as_text())
    before = following.models["a"]
    leading.replace([version("a", 3)], [])
    following.follow(leading.as_text())
    for registry in (following, make_registry(manifest, counters.make_table(["a", "b"]))):
        registry.follow(leading.as_text())
        assert {name: model.entry.version for name, model in registry.models.items()} == {"a": 3, "c": 1}
        assert (registry.generation, registry.ready) == (2, leading.ready)
    assert following.models["a"] is not before
    same = following.models["a"]
    following.follow(leading.as_text())
    assert following.models["a"] is same
