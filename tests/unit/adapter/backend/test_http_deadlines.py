"""Calls of HttpInference that are late or given up: their answers reach nobody, their connections are used again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from adapter import errors
from adapter.backend.http_client import HttpInference
from adapter.backend.infer_request import InferRequest
from tests.support.fakes.triton_http import (
    FakeTritonHttp,
    Request,
    always,
    echo,
    error_answer,
    late,
    let_both_sides_read,
    until,
    value_of,
)
from tests.support.http.raw_http import (
    GOOD,
    NUMBERS,
    ask,
    infer,
    talk,
    within,
)


def test_a_late_answer_reaches_nobody_and_its_connection_is_used_again() -> None:
    gate = asyncio.Event()

    async def use(backend: HttpInference) -> None:
        fake.reply = late(fake, gate)
        with pytest.raises(errors.DeadlineExceeded):
            await ask(backend, 1, 0.02)
        assert await ask(backend, 2) == 2
        gate.set()
        await let_both_sides_read()
        assert [await ask(backend, value) for value in (3, 4)] == [3, 4]

    fake = FakeTritonHttp(echo)
    talk(fake, use)
    assert [request.connection for request in fake.requests] == [0, 1, 0, 0]


def test_a_hanging_triton_is_given_up_at_the_deadline() -> None:
    async def use(backend: HttpInference) -> float:
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            await ask(backend, 1, 0.05)
        return time.monotonic() - started

    assert 0.03 < talk(FakeTritonHttp(held_from([1], asyncio.Event())), use) < 1


def held_from(
    values: Sequence[float], gate: asyncio.Event
) -> Callable[[Request, asyncio.StreamWriter], Awaitable[None]]:
    """These values are answered once the gate is open."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if value_of(request) in values:
            await gate.wait()
        await echo(request, writer)

    return reply


def test_calls_that_are_late_keep_others_of_their_model_waiting_from_the_fourth_on() -> None:
    gate = asyncio.Event()
    fake = FakeTritonHttp(held_from([1], gate))

    async def use(backend: HttpInference) -> None:
        for _ in range(4):
            with pytest.raises(errors.DeadlineExceeded):
                await ask(backend, 1, 0.02)
        with pytest.raises(errors.DeadlineExceeded):
            await ask(backend, 2, 0.02)
        assert len(fake.requests) == 4, "it was not sent"
        waits = asyncio.create_task(ask(backend, 3))
        await asyncio.sleep(0.02)
        assert len(fake.requests) == 4
        arrays = {"x": np.array([[5, 0]], np.float32)}
        assert (await backend.infer("other_direct", NUMBERS, arrays, within(5)))["y"][0, 0] == 5
        gate.set()
        assert await waits == 3

    talk(fake, use)


def test_when_a_model_was_unloaded_its_late_calls_are_given_up() -> None:
    gate = asyncio.Event()
    fake = FakeTritonHttp(held_from([1], gate))

    async def use(backend: HttpInference) -> None:
        for _ in range(4):
            with pytest.raises(errors.DeadlineExceeded):
                await ask(backend, 1, 0.02)
        waits = asyncio.create_task(ask(backend, 3))
        await asyncio.sleep(0.02)
        backend.forget("m_direct")
        assert await waits == 3
        assert await ask(backend, 4, 0.5) == 4

    talk(fake, use)


@pytest.mark.parametrize("text", ["Stub process 'm_direct_0_0' is not healthy.", "Failed to obtain the health mutex."])
def test_a_late_answer_that_tells_of_a_death_is_heard(text: str) -> None:
    gate, told = asyncio.Event(), []

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        message = text if value_of(request) == 1 else "[schwift:model_error] ValueError"
        writer.write(error_answer(500, json.dumps({"error": message}).encode()))

    async def use(backend: HttpInference) -> None:
        backend.watch_deaths(lambda model, began: told.append((model, began)))
        began = asyncio.get_running_loop().time()
        for value in (2, 1):
            with pytest.raises(errors.DeadlineExceeded):
                await ask(backend, value, 0.02)
        given_up = asyncio.get_running_loop().time()
        gate.set()
        await until(lambda: told)
        assert [model for model, _ in told] == ["m_direct"]
        assert began < told[0][1] < given_up
        await let_both_sides_read()
        # Its connection is good.
        fake.reply = echo
        assert list(await asyncio.gather(ask(backend, 3), ask(backend, 4))) == [3, 4]
        assert len(fake.writers) == 2

    fake = FakeTritonHttp(reply)
    talk(fake, use)


def test_calls_of_a_model_whose_processes_were_ended_are_given_up_and_no_others() -> None:
    gate = asyncio.Event()
    fake = FakeTritonHttp(held_from([1, 2, 5], gate))

    async def use(backend: HttpInference) -> None:
        with pytest.raises(errors.DeadlineExceeded):
            await ask(backend, 2, 0.02)
        lost = [asyncio.create_task(ask(backend, 1)) for _ in range(3)]
        arrays = {"x": np.array([[5, 0]], np.float32)}
        other = asyncio.create_task(backend.infer("other_direct", NUMBERS, arrays, within(5)))
        await until(lambda: len(fake.requests) == 5)
        backend.abandon("m_direct")
        for error in await asyncio.gather(*lost, return_exceptions=True):
            assert isinstance(error, errors.ModelProcessDead)
            assert (error.detail, error.inside) == (errors.UNAVAILABLE, "the process that had this call was ended")
        assert await ask(backend, 3) == 3
        gate.set()
        assert (await other)["y"][0, 0] == 5
        # What comes on their connections after all would belong to nobody.
        await until(lambda: len(fake.ended) == 4)
        assert await ask(backend, 1) == 1
        assert fake.requests[-1].connection not in fake.ended

    talk(fake, use)


def test_the_answer_of_a_cancelled_call_reaches_nobody() -> None:
    async def use(backend: HttpInference) -> None:
        gate = asyncio.Event()
        fake.reply = late(fake, gate)
        task = asyncio.create_task(ask(backend, 1))
        await until(lambda: fake.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        assert [await ask(backend, value) for value in (2, 3)] == [2, 3]
        assert [request.connection for request in fake.requests] == [0, 1, 1]
        await until(lambda: 0 in fake.ended)

    fake = FakeTritonHttp(echo)
    talk(fake, use)


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_deadline_in_the_past_is_not_sent(timeout: float) -> None:
    fake = FakeTritonHttp(always(GOOD))
    with pytest.raises(errors.DeadlineExceeded):
        talk(fake, lambda backend: infer(backend, timeout))
    assert fake.writers == []


@pytest.mark.parametrize(("seconds", "microseconds"), [(1.5, 1_500_000), (2.0000004, 2_000_000), (1e-9, 1)])
def test_the_time_in_a_queue_is_a_positive_integer_of_microseconds(seconds: float, microseconds: int) -> None:
    request = InferRequest("m", b"host", NUMBERS).fill({"x": np.array([[1, 0]], np.float32)}, seconds, b"", "")
    assert b'"parameters":{"timeout":%d},"inputs"' % microseconds in request


def test_what_has_a_queue_is_told_how_long_it_may_keep_the_call() -> None:
    """In microseconds, a positive integer: anything else is answered 500."""
    fake = FakeTritonHttp(echo)

    async def use(backend: HttpInference) -> None:
        for timeout in (1.5, 2.0000004):
            arrays = {"x": np.array([[1, 0]], np.float32)}
            await backend.infer("m", NUMBERS, arrays, within(timeout), queued=True)

    talk(fake, use)
    heads = [json.loads(request.body[: request.body.rindex(b"}") + 1]) for request in fake.requests]
    assert [list(head["parameters"]) for head in heads] == [["timeout"]] * 2
    for head, seconds in zip(heads, (1.5, 2.0), strict=True):
        microseconds = head["parameters"]["timeout"]
        assert isinstance(microseconds, int) and seconds - 0.5 < microseconds / 1e6 <= seconds
    assert [list(head) for head in heads] == [["parameters", "inputs", "outputs"]] * 2


def test_a_call_has_the_id_that_it_was_given_and_else_none() -> None:
    fake = FakeTritonHttp(echo)

    async def use(backend: HttpInference) -> None:
        arrays = {"x": np.array([[1, 0]], np.float32)}
        for request_id in ("", 'a "key"-canary', ""):
            await backend.infer("m", NUMBERS, arrays, within(1), request_id=request_id)

    talk(fake, use)
    heads = [json.loads(request.body[: request.body.rindex(b"}") + 1]) for request in fake.requests]
    assert [head.get("id") for head in heads] == [None, 'a "key"-canary', None]
    assert [head["inputs"][0]["shape"] for head in heads] == [[1, 2]] * 3
