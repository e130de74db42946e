"""Predictions are answered alike whichever short cut is taken away, down to the framework's own route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapter.sockets.bounded_protocol import BoundedProtocol
from adapter.sockets.fast_protocol import PredictProtocol
from tests.support.http.prediction_server import GOOD, SMALL, USUAL, Running, asked, post, serving

WAYS: dict[str, tuple[Any, bool]] = {
    "the parser's short cut alone": (PredictProtocol, False),
    "our protocol alone": (BoundedProtocol, False),
    "uvicorn's httptools": ("httptools", True),
    "uvicorn's httptools and no short cut": ("httptools", False),
    "uvicorn's h11 and no short cut": ("h11", False),
}
MORE = {
    "no name": (post(GOOD, path="/predict/"), 404),
    "an escaped slash": (post(GOOD, path="/predict/m%2Fx"), 404),
    "no UTF-8": (post(GOOD, path="/predict/%ff"), 404),
    "read": (post(GOOD, path="/predict/m").replace(b"POST", b"GET"), 405),
}
REQUESTS = {**SMALL, **USUAL, **MORE}


@pytest.fixture(scope="module")
def usual() -> Iterator[Running]:
    """As it is in production: both short cuts."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module", params=WAYS.values(), ids=list(WAYS))
def other(request: pytest.FixtureRequest) -> Iterator[Running]:
    http, in_front = request.param
    with serving(http=http, in_front=in_front) as running:
        yield running


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_the_same(usual: Running, other: Running, name: str) -> None:
    request, status = REQUESTS[name]
    wanted = asked(usual, request)
    assert wanted[0] == status
    assert asked(other, request) == wanted


def test_a_prediction_is_counted_once_and_has_the_clients_id(other: Running) -> None:
    def counted() -> float:
        (line,) = [line for line in other.metrics().splitlines() if line.startswith(
            'inference_requests_total{endpoint="predict",model_name="m"}')]  # fmt: skip
        return float(line.split()[-1])

    before = counted()
    with other.talk() as talk:
        talk.send(post(GOOD, "X-Request-Id: mine"))
        assert b"\r\nx-request-id: mine\r\n" in talk.sock.recv(65536)
    assert counted() == before + 1
