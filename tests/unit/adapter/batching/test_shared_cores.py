"""Calls of several models that share the cores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapter.batching.shared_cores import CoreUser, SharedCores
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.lifecycle.lifecycle_desk import Desk, Held, all_of, turns

QUICK = 0.001
SLOW = 0.02
# Longer than a call may take before nobody waits for it any more.
STUCK = 0.011
# So many calls of each model teach how long they take.
LESSONS = 10


class Machine:
    """Models that share so many cores, and whose calls wait until they are let go."""

    def __init__(self, models: int, cores: int, has_spare: bool) -> None:
        counted_loop().count_turns(1e-6)
        self.cores = SharedCores(cores, counted_loop().time, has_spare)
        self.held = [Held() for _ in range(models)]
        self.desks = [Desk(held, timed=True, cores=self.cores) for held in self.held]

    async def end(self, *models: int) -> None:
        """Let the first call of these end that is under way."""
        for model in models:
            next(gate for gate in self.held[model].gates if not gate.is_set()).set()
        await turns()

    async def end_all(self, *tasks: asyncio.Task[Any]) -> list[Any]:
        """Let all calls end, those too that are still to come, and return what the tasks were answered."""
        while not all(task.done() for task in tasks):
            for held in self.held:
                for gate in held.gates:
                    gate.set()
            await turns()
        return await all_of(*tasks)

    async def ask(self, model: int, *values: float) -> asyncio.Task[Any]:
        task = self.desks[model].ask(*values)
        await turns()
        return task

    def sent(self) -> list[list[list[float]]]:
        """The values of each model's calls, without those that taught how long they take."""
        return [desk.sent[LESSONS:] for desk in self.desks]


async def make_machine(models: int = 3, cores: int = 2, seconds: float = QUICK, has_spare: bool = False) -> Machine:
    machine = Machine(models, cores, has_spare)
    for model in range(models):
        for _ in range(LESSONS):
            task = await machine.ask(model, -1)
            await asyncio.sleep(seconds)
            await machine.end(model)
            assert await task == [-2.0]
    return machine


@in_counted_time
async def test_no_more_calls_than_cores_and_the_rows_of_other_models_are_joined() -> None:
    machine = await make_machine()
    tasks = [await machine.ask(model, value) for model, value in ((0, 1), (1, 2), (0, 3), (1, 4), (2, 5), (2, 6))]
    assert machine.sent() == [[[1.0]], [[2.0]], []]
    await machine.end(0)
    # The clients that were answered do not come back: not waited for any longer than for a moment.
    await asyncio.sleep(0.0007)
    await turns()
    assert machine.sent() == [[[1.0]], [[2.0]], [[5.0, 6.0]]]
    assert await machine.end_all(*tasks) == [[2.0], [4.0], [6.0], [8.0], [10.0], [12.0]]
    assert machine.sent() == [[[1.0], [3.0]], [[2.0], [4.0]], [[5.0, 6.0]]]


@pytest.mark.parametrize(("models", "cores", "calls"), [(2, 2, 1), (5, 2, 1), (6, 2, 2), (10, 3, 2), (11, 3, 3)])
def test_a_core_is_left_to_the_event_loop_while_models_are_few(models: int, cores: int, calls: int) -> None:
    shared = SharedCores(cores, lambda: 0.0)
    users = [CoreUser(shared, lambda loop: None) for _ in range(models)]
    for user in users:
        user.learn(QUICK)
        user.count(2)
        user.note_call(0.0)
    for user in users:
        if user.has_turn():
            user.begin()
    assert shared.calls == calls


@in_counted_time
async def test_the_model_that_waits_longest_is_next() -> None:
    machine = await make_machine(5)
    order = [0, 1, 0, 0, 1, 4, 4, 2, 2, 3, 3]
    tasks = [await machine.ask(model, value) for value, model in enumerate(order)]
    assert [len(calls) for calls in machine.sent()] == [1, 1, 0, 0, 0]
    counts = []
    for model in (0, 1, 4):
        await machine.end(model)
        await asyncio.sleep(QUICK)
        await turns()
        counts.append([len(calls) for calls in machine.sent()])
    assert counts == [[1, 1, 0, 0, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1]]
    assert await machine.end_all(*tasks) == [[2.0 * value] for value in range(len(order))]


@in_counted_time
async def test_whoever_was_answered_is_waited_for_whichever_model_is_asked_next() -> None:
    machine = await make_machine(2)
    first = [await machine.ask(model, value) for model, value in ((0, 1), (1, 4), (0, 2), (0, 3), (1, 5), (1, 6))]
    await machine.end(0, 1)
    assert await all_of(first[0], first[1]) == [[2.0], [8.0]]
    # Both are waited for, though rows of both models wait.
    assert machine.sent() == [[[1.0]], [[4.0]]]
    later = [await machine.ask(1, 7)]
    assert machine.sent() == [[[1.0]], [[4.0]]]
    later.append(await machine.ask(1, 8))
    assert machine.sent() == [[[1.0], [2.0, 3.0]], [[4.0], [5.0, 6.0, 7.0, 8.0]]]
    await machine.end_all(*first, *later)


@pytest.mark.parametrize(("cores", "seconds"), [(0, QUICK), (6, QUICK), (2, SLOW)])
@in_counted_time
async def test_calls_are_not_held_back_without_need(cores: int, seconds: float) -> None:
    """The cores are another machine's, or enough for two calls of each model, or calls are slow."""
    machine = await make_machine(3, cores, seconds)
    tasks = [await machine.ask(model, value) for value, model in enumerate((0, 1, 0, 1, 2, 2))]
    assert all(machine.sent())
    await machine.end_all(*tasks)


@in_counted_time
async def test_one_request_a_model_is_not_held_back() -> None:
    machine = await make_machine(6)
    tasks = [await machine.ask(model, model) for model in range(6)]
    assert machine.sent() == [[[float(model)]] for model in range(6)]
    await machine.end_all(*tasks)


@in_counted_time
async def test_nobody_waits_for_calls_that_hang() -> None:
    machine = await make_machine(5)
    hung = [await machine.ask(model, value) for model, value in ((0, 1), (1, 2), (0, 3), (1, 4))]
    others = [await machine.ask(model, model) for model in (2, 3, 4)]
    assert machine.sent()[2:] == [[], [], []]
    await asyncio.sleep(STUCK)
    await turns()
    assert machine.sent() == [[[1.0]], [[2.0]], [[2.0]], [[3.0]], []]
    # Their cores are free from then on.
    await machine.end(2)
    await asyncio.sleep(QUICK)
    await turns()
    assert machine.sent() == [[[1.0]], [[2.0]], [[2.0]], [[3.0]], [[4.0]]]
    assert await machine.end_all(*hung, *others) == [[2.0], [4.0], [6.0], [8.0], [4.0], [6.0], [8.0]]
    assert machine.cores.is_free()


@in_counted_time
async def test_calls_of_others_that_go_on_hide_none_that_hangs() -> None:
    machine = await make_machine(4)
    tasks = [await machine.ask(model, value) for model, value in ((0, 1), (1, 2), (0, 3), (2, 4), (3, 5), (3, 6))]
    for model in (1, 2):
        await machine.end(model)
        await asyncio.sleep(STUCK / 2 + QUICK)
        await turns()
    # The first model hangs, and two others have a call at a time again.
    tasks += [await machine.ask(1, 7), await machine.ask(2, 8)]
    assert [len(calls) for calls in machine.sent()] == [1, 2, 1, 1]
    await machine.end_all(*tasks)


@in_counted_time
async def test_a_call_that_failed_gives_its_core_back() -> None:
    machine = await make_machine()
    tasks = [await machine.ask(model, value) for model, value in ((0, 1), (1, 2), (0, 3), (1, 4), (2, 5))]
    gone = machine.desks[2].ask(6, timeout=0.002)
    await asyncio.sleep(0.003)
    assert [type(answer).__name__ for answer in await asyncio.gather(gone, return_exceptions=True)] == [
        "DeadlineExceeded"
    ]
    answers = await machine.end_all(*tasks)
    assert answers == [[2.0], [4.0], [6.0], [8.0], [10.0]]
    assert not machine.cores.are_crowded()
    assert (machine.cores.requests, machine.cores.calls, machine.cores.is_anybody_before()) == (0, 0, False)


@pytest.mark.parametrize(("calls", "taken"), [(1, 0.0025), (2, 0.0025), (8, 0.01)])
@in_counted_time
async def test_a_call_is_quick_by_what_it_takes_without_those_that_it_shares_the_cores_with(
    calls: int, taken: float
) -> None:
    cores = SharedCores(2, counted_loop().time)
    users = [CoreUser(cores, lambda loop: None) for _ in range(calls)]
    for user in users:
        user.begin()
    users[0].learn(taken * 1.3)
    assert not users[0].quick
    for _ in range(10):
        users[0].learn(taken)
    assert users[0].quick
