"""Answers to HttpInference that are errors, garbage, or not what they say they are."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from adapter import errors
from adapter.backend.http_client import HttpInference
from tests.support.fakes.triton_http import (
    FakeTritonHttp,
    always,
    echo,
    error_answer,
    good_answer,
    raw_answer,
)
from tests.support.http.raw_http import (
    ARRAYS,
    ask,
    infer,
    talk,
)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "[schwift:model_error] ValueError: /secret", errors.ModelFailed),
        (500, "[schwift:bad_model_output] NaN", errors.BadModelOutput),
        (500, "in ensemble 'm', Exceeds maximum queue size", errors.QueueFull),
        (503, "Request timeout expired", errors.DeadlineExceeded),
        (400, "Request for unknown model: 'm_direct' is not found", errors.ModelUnavailable),
        (503, "Server is stopping, scheduler for model has stopped", errors.UpstreamDown),
        (400, "unexpected shape for input 'x'", errors.UpstreamRefused),
        (500, "caf\u00e9 in C++", errors.ModelFailed),
    ],
)
def test_error_texts_are_our_errors_and_the_connection_stays(
    status: int, text: str, kind: type[errors.AdapterError]
) -> None:
    async def use(backend: HttpInference) -> None:
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
    async def use(backend: HttpInference) -> None:
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
    async def use(backend: HttpInference) -> None:
        with pytest.raises(errors.BadModelOutput):
            await infer(backend, 0.5)
        fake.reply = echo
        assert await ask(backend, 3, 0.5) == 3

    fake = FakeTritonHttp(always(data))
    talk(fake, use)
