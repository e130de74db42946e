"""What HttpInference writes and reads, byte for byte, on a socket of this machine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from adapter import errors
from adapter.backend.http_client import HttpInference
from tests.support.fakes.triton_http import (
    FakeTritonHttp,
    Output,
    Request,
    always,
    echo,
    error_answer,
    good_answer,
)
from tests.support.http.raw_http import (
    ARRAYS,
    GOOD,
    LABEL_OUTPUT,
    NUMBERS,
    STRINGS,
    Y_OUTPUT,
    ask,
    assert_good,
    infer,
    talk,
    within,
)


def test_the_bytes_of_a_request() -> None:
    fake = FakeTritonHttp(always(GOOD))

    async def use(backend: HttpInference) -> bytes:
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
            backend = HttpInference(address, lambda: next(lines))
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

    async def twice(backend: HttpInference) -> None:
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

    async def use(backend: HttpInference) -> Any:
        return await backend.infer("m_direct", STRINGS, {"text": label}, within(5))

    fake = FakeTritonHttp(always(good_answer([("label", "BYTES", label)])))
    assert talk(fake, use)["label"].tolist() == label.tolist()
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    assert fake.requests[0].body.endswith(b"}" + raw)


def test_a_direct_model_that_packs_strings_gets_them_packed_and_its_front_as_bytes() -> None:
    entry = STRINGS.model_copy(update={"packs_strings": True})
    text = {"text": np.array([["é".encode()], [b"b"]], object)}
    packed: list[Output] = [("label.lengths", "INT32", np.array([[0], [3]], np.int32)),
              ("label.bytes", "UINT8", np.array([[97, 98], [99, 0]], np.uint8))]  # fmt: skip
    fake = FakeTritonHttp(always(good_answer(packed)))

    async def use(backend: HttpInference) -> None:
        answer = await backend.infer("m_direct", entry, text, within(5))
        assert {name: array.tolist() for name, array in answer.items()} == {"label": [[b""], [b"abc"]]}
        fake.reply = always(good_answer([("label", "BYTES", text["text"])]))
        assert (await backend.infer("m", entry, text, within(5)))["label"].tolist() == text["text"].tolist()
        fake.reply = always(good_answer(packed[:1]))
        with pytest.raises(errors.BadModelOutput):
            await backend.infer("m_direct", entry, text, within(5))

    talk(fake, use)
    first, second = (request.body for request in fake.requests[:2])
    raws = b"\xc3\xa9b\0" + np.array([2, 1], np.int32).tobytes()
    assert first.endswith(b"}" + raws)
    head = json.loads(first.removesuffix(raws))
    assert [(item["name"], item["datatype"], item["shape"]) for item in head["inputs"]] == [
        ("text.bytes", "UINT8", [2, 2]), ("text.lengths", "INT32", [2, 1]),
    ]  # fmt: skip
    assert [item["name"] for item in head["outputs"]] == ["label.bytes", "label.lengths"]
    assert second.endswith(b"}" + b"\x02\0\0\0\xc3\xa9\x01\0\0\0b")


def test_a_large_tensor_there_and_back() -> None:
    values = np.arange(1_000_000, dtype=np.float32).reshape(-1, 2)

    async def mirror(request: Request, writer: asyncio.StreamWriter) -> None:
        array = np.frombuffer(request.body[-values.nbytes :], np.float32).reshape(-1, 2)
        writer.write(good_answer([("y", "FP32", array)]))

    async def use(backend: HttpInference) -> Any:
        return await backend.infer("m_direct", NUMBERS, {"x": values}, within(5))

    assert np.array_equal(talk(FakeTritonHttp(mirror), use)["y"], values)


INDEX = [
    {"name": "a", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
    {"name": "a", "version": "2", "state": "READY"},
    {"name": "c"},
]


def index_answer(index: Any) -> bytes:
    body = json.dumps(index).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_states_are_asked_for_with_what_opens_them_and_on_the_connection_of_calls() -> None:
    fake = FakeTritonHttp(always(index_answer(INDEX)))

    async def twice(backend: HttpInference) -> Any:
        await backend.states(5)
        return await backend.states(5, b"schwift-key: k\r\n")

    assert talk(fake, twice) == {
        "a/1": "UNAVAILABLE", "a/2": "READY", "a": "READY", "c/": "not loaded", "c": "not loaded",
    }  # fmt: skip
    assert [request.connection for request in fake.requests] == [0, 0]
    first, second = (request.head for request in fake.requests)
    assert first.startswith(b"POST /v2/repository/index HTTP/1.1\r\nHost: 127.0.0.1:") and b"schwift-key" not in first
    assert b"\r\nschwift-key: k\r\n" in second and second.endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(403, b'{"error":"This API is restricted"}'),
        error_answer(500, b""),
        index_answer({"a": 1}),
        index_answer([{"version": "1"}]),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n[{"name":"\xff"}]',
        b"",
    ],
)
def test_states_that_are_not_told_are_an_error(answer: bytes) -> None:
    with pytest.raises(errors.AdapterError):
        talk(FakeTritonHttp(always(answer)), lambda backend: backend.states(0.1))
