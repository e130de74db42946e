"""TritonHttp against an HTTP server of Triton's protocol, on a socket of this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from adapter import errors
from adapter.backend.triton_http import TritonHttp
from tests.fakes.entries import tensor
from tests.fakes.triton_http import (
    FakeTritonHttp,
    Reply,
    Request,
    always,
    echo,
    error_answer,
    good_answer,
    late,
    one,
    raw_answer,
    until,
    value_of,
)  # fmt: skip

T = TypeVar("T")
X, TEXT = tensor(("x", "float32", (2,))), tensor(("text", "string", (1,)))
Y, LABEL = tensor(("y", "float32", (2,))), tensor(("label", "string", (1,)))
ARRAYS = {"x": np.array([[1, 2], [3, 4]], np.float32), "text": np.array([[b"a"], [b"bc"]], object)}
Y_OUTPUT = ("y", "FP32", ARRAYS["x"] * 2)
LABEL_OUTPUT = ("label", "BYTES", np.array([[b"\xc3\xa9"], [b""]], object))
GOOD = good_answer([Y_OUTPUT, LABEL_OUTPUT])


def talk(fake: FakeTritonHttp, use: Callable[[TritonHttp], Awaitable[T]]) -> T:
    async def main() -> T:
        async with fake.serving() as address:
            backend = TritonHttp(address)
            try:
                return await use(backend)
            finally:
                backend.close()
                await asyncio.sleep(0)

    return asyncio.run(main())


async def infer(backend: TritonHttp, timeout: float = 5.0) -> Any:
    return await backend.infer("m_direct", (X, TEXT), ARRAYS, (Y, LABEL), timeout)


async def ask(backend: TritonHttp, value: float, timeout: float = 5.0) -> float:
    """One number there and back."""
    outputs = await backend.infer("m_direct", (X,), {"x": np.array([[value, 0]], np.float32)}, (Y,), timeout)
    return float(outputs["y"][0, 0])


def assert_good(outputs: Any) -> None:
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert outputs["label"].tolist() == [[b"\xc3\xa9"], [b""]]


def test_the_bytes_of_a_request() -> None:
    fake = FakeTritonHttp(always(GOOD))

    async def use(backend: TritonHttp) -> bytes:
        assert_good(await infer(backend))
        return b"127.0.0.1:%d" % fake.writers[0].get_extra_info("sockname")[1]

    address = talk(fake, use)
    (request,) = fake.requests
    raws = ARRAYS["x"].tobytes() + b"\x01\0\0\0a\x02\0\0\0bc"
    size = len(request.body) - len(raws)
    assert request.head == (
        b"POST /v2/models/m_direct/infer HTTP/1.1\r\nHost: %b\r\n"
        b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
    ) % (address, size, len(request.body))
    assert request.body[size:] == raws
    assert json.loads(request.body[:size]) == {
        "inputs": [
            {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
            {"name": "text", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
        ],
        "outputs": [
            {"name": "y", "parameters": {"binary_data": True}},
            {"name": "label", "parameters": {"binary_data": True}},
        ],
    }


def test_headers_of_a_call_are_its_own() -> None:
    fake = FakeTritonHttp(echo)
    lines = iter([b"traceparent: a\r\ntracestate: b\r\n", b""])

    async def main() -> list[float]:
        async with fake.serving() as address:
            backend = TritonHttp(address, lambda: next(lines))
            answers = [await ask(backend, value) for value in (1, 2)]
            backend.close()
            return answers

    assert asyncio.run(main()) == [1, 2]
    first, second = (request.head for request in fake.requests)
    assert first.endswith(b"\r\ntraceparent: a\r\ntracestate: b\r\n\r\n")
    assert b"trace" not in second and second.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("step", [1, 7, len(GOOD) - 1])
def test_an_answer_in_pieces(step: int) -> None:
    async def in_pieces(request: Request, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(GOOD), step):
            writer.write(GOOD[start : start + step])
            await asyncio.sleep(0.0001)

    async def twice(backend: TritonHttp) -> None:
        assert_good(await infer(backend))
        assert_good(await infer(backend))

    fake = FakeTritonHttp(in_pieces)
    talk(fake, twice)
    assert [request.connection for request in fake.requests] == [0, 0]


@pytest.mark.parametrize(
    "order",
    [
        ("Inference-Header-Content-Length", "Content-Length"),
        ("Content-Length", "Inference-Header-Content-Length"),
        ("inference-header-content-length", "content-length"),
        ("CONTENT-LENGTH", "INFERENCE-HEADER-CONTENT-LENGTH"),
    ],
)
def test_the_lengths_in_any_order_and_case_and_the_outputs_by_name(order: tuple[str, str]) -> None:
    assert_good(talk(FakeTritonHttp(always(good_answer([LABEL_OUTPUT, Y_OUTPUT], order))), infer))


def test_strings_of_any_bytes_come_back_whole() -> None:
    texts = [b"", b"\r\n\r\n", b"\0\xff", "\u20ac\U0001f600".encode(), b"a" * 70_000]
    label = np.array([[text] for text in texts], object)

    async def use(backend: TritonHttp) -> Any:
        return await backend.infer("m_direct", (TEXT,), {"text": label}, (LABEL,), 5)

    fake = FakeTritonHttp(always(good_answer([("label", "BYTES", label)])))
    assert talk(fake, use)["label"].tolist() == label.tolist()
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    assert fake.requests[0].body.endswith(b"}" + raw)


def test_a_large_tensor_there_and_back() -> None:
    values = np.arange(1_000_000, dtype=np.float32).reshape(-1, 2)

    async def mirror(request: Request, writer: asyncio.StreamWriter) -> None:
        array = np.frombuffer(request.body[-values.nbytes :], np.float32).reshape(-1, 2)
        writer.write(good_answer([("y", "FP32", array)]))

    async def use(backend: TritonHttp) -> Any:
        return await backend.infer("m_direct", (X,), {"x": values}, (Y,), 5)

    assert np.array_equal(talk(FakeTritonHttp(mirror), use)["y"], values)


def test_calls_in_turn_share_a_connection() -> None:
    async def use(backend: TritonHttp) -> None:
        assert [await ask(backend, value, 1000) for value in range(20)] == list(range(20))
        assert not backend._deadlines._pending, "kept no longer than the call"

    fake = FakeTritonHttp(echo)
    talk(fake, use)
    assert len(fake.writers) == 1


def test_calls_at_a_time_have_a_connection_each_and_their_own_answers() -> None:
    async def later_first(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(fake.requests) < 5:
            await until(lambda: len(fake.requests) >= 5)
            await asyncio.sleep(0.01 - 0.002 * value_of(request) % 5)
        await echo(request, writer)

    async def use(backend: TritonHttp) -> None:
        assert await asyncio.gather(*(ask(backend, i) for i in range(5))) == [0, 1, 2, 3, 4]
        assert sorted(request.connection for request in fake.requests) == [0, 1, 2, 3, 4]
        assert await asyncio.gather(*(ask(backend, 5 + i) for i in range(5))) == [5, 6, 7, 8, 9]
        assert len(fake.writers) == 5

    fake = FakeTritonHttp(later_first)
    talk(fake, use)


def test_connection_close_is_obeyed_and_none_is_left_open() -> None:
    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(one(value_of(request)).replace(b"\r\n", b"\r\nConnection: Close\r\n", 1))

    async def use(backend: TritonHttp) -> None:
        assert [await ask(backend, value) for value in range(3)] == [0, 1, 2]
        assert [request.connection for request in fake.requests] == [0, 1, 2]
        await until(lambda: fake.ended == {0, 1, 2})

    fake = FakeTritonHttp(reply)
    talk(fake, use)


def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    async def use(backend: TritonHttp) -> None:
        assert list(await asyncio.gather(ask(backend, 1), ask(backend, 2))) == [1, 2]
        for writer in fake.writers:
            writer.close()
        await until(lambda: fake.ended == {0, 1})
        await asyncio.sleep(0.01)
        assert await ask(backend, 3, 0.5) == 3
        assert fake.requests[-1].connection == 2

    fake = FakeTritonHttp(echo)
    talk(fake, use)


@pytest.mark.parametrize("stray", [b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", one(7), b"stray"])
def test_a_connection_on_which_something_unasked_came_is_not_used(stray: bytes) -> None:
    async def use(backend: TritonHttp) -> None:
        assert await ask(backend, 1) == 1
        fake.writers[0].write(stray)
        await asyncio.sleep(0.02)
        assert await ask(backend, 2, 0.5) == 2
        assert fake.requests[-1].connection == 1

    fake = FakeTritonHttp(echo)
    talk(fake, use)


def test_a_connection_with_bytes_after_its_answer_is_not_used() -> None:
    async def use(backend: TritonHttp) -> None:
        assert await ask(backend, 7) == 7
        fake.reply = echo
        assert await ask(backend, 2, 0.5) == 2
        assert fake.requests[-1].connection == 1

    fake = FakeTritonHttp(always(one(7) + one(8)))
    talk(fake, use)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "[schwift:model_error] ValueError: /secret", errors.ModelFailed),
        (500, "[schwift:bad_model_output] NaN", errors.BadModelOutput),
        (500, "in ensemble 'm', Exceeds maximum queue size", errors.QueueFull),
        (503, "Request timeout expired", errors.DeadlineExceeded),
        (400, "Request for unknown model: 'm_direct' is not found", errors.ModelUnavailable),
        (503, "Server is stopping, scheduler for model has stopped", errors.UpstreamDown),
        (500, "caf\u00e9 in C++", errors.ModelFailed),
    ],
)
def test_error_texts_are_our_errors_and_the_connection_stays(
    status: int, text: str, kind: type[errors.AdapterError]
) -> None:
    async def use(backend: TritonHttp) -> None:
        with pytest.raises(errors.AdapterError) as caught:
            await infer(backend)
        assert type(caught.value) is kind
        assert caught.value.inside == text
        assert text not in caught.value.detail
        fake.reply = echo
        assert await ask(backend, 3) == 3
        assert len(fake.writers) == 1

    fake = FakeTritonHttp(always(error_answer(status, json.dumps({"error": text}).encode())))
    talk(fake, use)


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"{}", b'{"error": 1}', b'{"error": "cut', b'{"error": "\xff"}', b"\xff\xfe"]
)
def test_a_status_without_json_is_still_our_error(body: bytes) -> None:
    with pytest.raises(errors.ModelFailed) as caught:
        talk(FakeTritonHttp(always(error_answer(500, body))), infer)
    assert caught.value.inside == "status 500"


def test_nobody_there() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(errors.UpstreamDown):
        asyncio.run(infer(TritonHttp(f"127.0.0.1:{port}")))


@pytest.mark.parametrize("sent", [0, 10, GOOD.index(b"\r\n\r\n") + 4, len(GOOD) - 1])
def test_a_connection_lost_in_the_middle_of_an_answer(sent: int) -> None:
    async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD[:sent])
        writer.close()

    async def use(backend: TritonHttp) -> None:
        with pytest.raises(errors.UpstreamDown):
            await infer(backend)
        fake.reply = echo
        assert await ask(backend, 3, 0.5) == 3

    fake = FakeTritonHttp(cut)
    talk(fake, use)


def test_a_late_answer_reaches_nobody_and_its_connection_is_used_again() -> None:
    gate = asyncio.Event()

    async def use(backend: TritonHttp) -> None:
        fake.reply = late(fake, gate)
        with pytest.raises(errors.DeadlineExceeded):
            await ask(backend, 1, 0.02)
        assert await ask(backend, 2) == 2
        gate.set()
        await until(lambda: len(backend._idle) == 2)
        assert [await ask(backend, value) for value in (3, 4)] == [3, 4]

    fake = FakeTritonHttp(echo)
    talk(fake, use)
    assert [request.connection for request in fake.requests] == [0, 1, 0, 0]


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

    async def use(backend: TritonHttp) -> None:
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
        assert (await backend.infer("other_direct", (X,), arrays, (Y,), 5))["y"][0, 0] == 5
        gate.set()
        assert await waits == 3

    talk(fake, use)


def test_when_a_model_was_unloaded_its_late_calls_are_given_up() -> None:
    gate = asyncio.Event()
    fake = FakeTritonHttp(held_from([1], gate))

    async def use(backend: TritonHttp) -> None:
        for _ in range(4):
            with pytest.raises(errors.DeadlineExceeded):
                await ask(backend, 1, 0.02)
        waits = asyncio.create_task(ask(backend, 3))
        await asyncio.sleep(0.02)
        backend.forget("m_direct")
        assert await waits == 3
        assert not backend._late.full("m_direct")

    talk(fake, use)


def test_the_answer_of_a_cancelled_call_reaches_nobody() -> None:
    async def use(backend: TritonHttp) -> None:
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


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02",
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -50\r\nInference-Header-Content-Length: -9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nInference-Header-Content-Length: 9999\r\n\r\n{}",
        b"\xff" * 200_000,
    ],
)
def test_garbage_is_our_error_and_no_hang(garbage: bytes) -> None:
    async def use(backend: TritonHttp) -> None:
        started = time.monotonic()
        with pytest.raises(errors.AdapterError):
            await infer(backend, 0.3)
        assert time.monotonic() - started < 1
        fake.reply = echo
        assert await ask(backend, 3, 0.5) == 3

    fake = FakeTritonHttp(always(garbage))
    talk(fake, use)


def described(**changes: Any) -> bytes:
    """A good y, said to be something else."""
    output = {"name": "y", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}, **changes}
    return raw_answer({"outputs": [output]}, ARRAYS["x"].tobytes())


@pytest.mark.parametrize(
    "data",
    [
        described(datatype="INT32"),
        described(datatype="BYTES"),
        described(name="z"),
        described(shape=[2, 3]),
        described(parameters={"binary_data_size": 12}),
        described(parameters={}),
        described(shape="2"),
        raw_answer({}, b""),
        raw_answer(
            {"outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}]},
            b"\x09\0\0\0a",
        ),
        good_answer([("y", "FP32", ARRAYS["x"]), ("label", "FP32", ARRAYS["x"])]),
        error_answer(200, b"not JSON"),
        error_answer(200, b'{"outputs": [{"name": "\xff"}]}'),
        error_answer(200, b""),
    ],
)
def test_an_answer_that_does_not_hold_together_is_a_bad_output(data: bytes) -> None:
    async def use(backend: TritonHttp) -> None:
        with pytest.raises(errors.BadModelOutput):
            await infer(backend, 0.5)
        fake.reply = echo
        assert await ask(backend, 3, 0.5) == 3

    fake = FakeTritonHttp(always(data))
    talk(fake, use)


def test_what_has_a_queue_is_told_how_long_it_may_keep_the_call() -> None:
    """In microseconds, a positive integer: anything else is answered 500."""
    fake = FakeTritonHttp(echo)

    async def use(backend: TritonHttp) -> None:
        for timeout in (1.5, 2.0000004):
            arrays = {"x": np.array([[1, 0]], np.float32)}
            await backend.infer("m", (X,), arrays, (Y,), timeout, queued=True)

    talk(fake, use)
    heads = [json.loads(request.body[: request.body.rindex(b"}") + 1]) for request in fake.requests]
    assert [head["parameters"] for head in heads] == [{"timeout": 1_500_000}, {"timeout": 2_000_000}]
    assert [list(head) for head in heads] == [["parameters", "inputs", "outputs"]] * 2


def hang_up_when(*numbers: int, after: bytes = b"") -> Reply:
    """Ends the connection in place of the answers to these values."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if value_of(request) in numbers:
            writer.write(after)
            await writer.drain()
            writer.transport.close()
        else:
            await echo(request, writer)

    return reply


def test_a_kept_connection_that_ends_without_a_byte_is_replaced_once() -> None:
    first = True

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        if value_of(request) == 2 and first:
            first = False
            writer.transport.abort()
        else:
            await echo(request, writer)

    fake = FakeTritonHttp(reply)

    async def use(backend: TritonHttp) -> None:
        assert [await ask(backend, value) for value in (1, 2, 3)] == [1, 2, 3]

    talk(fake, use)
    assert [(request.connection, value_of(request)) for request in fake.requests] == [(0, 1), (0, 2), (1, 2), (1, 3)]


@pytest.mark.parametrize(("numbers", "after"), [((2,), b"HTTP/1.1 200"), ((1,), b"")])
def test_what_may_have_run_is_not_sent_again(numbers: tuple[int, ...], after: bytes) -> None:
    """An answer that had begun; a connection that was new."""
    fake = FakeTritonHttp(hang_up_when(*numbers, after=after))

    async def use(backend: TritonHttp) -> None:
        for value in (1, 2):
            if value in numbers:
                with pytest.raises(errors.UpstreamDown):
                    await ask(backend, value)
                return
            assert await ask(backend, value) == value

    talk(fake, use)
    assert [value_of(request) for request in fake.requests].count(numbers[0]) == 1


def test_no_more_than_a_tenth_of_the_calls_is_sent_again() -> None:
    fake = FakeTritonHttp(hang_up_when(2))

    async def use(backend: TritonHttp) -> None:
        for _ in range(50):
            await ask(backend, 1)
            with pytest.raises(errors.UpstreamDown):
                await ask(backend, 2)

    talk(fake, use)
    again = len(fake.requests) - 100
    assert 9 <= again <= 11


def test_a_refused_connection_is_tried_once_more() -> None:
    async def main() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            backend = TritonHttp(f"127.0.0.1:{sock.getsockname()[1]}")
            asked = asyncio.create_task(ask(backend, 5))
            await asyncio.sleep(0.005)
            sock.listen()
            server = await asyncio.start_server(FakeTritonHttp(echo)._serve, sock=sock.dup())
            assert await asked == 5
            backend.close()
            server.close()
            await asyncio.sleep(0.01)

    asyncio.run(main())
