"""Traces of a real server, as a collector gets them: the adapter's spans, and Triton's below them."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e import sample_models
from tests.observability.collector import Collected, Collector, collecting
from tests.support.servers.server import ROOT, Server, serving

SLOW = """
import time


class Slow:
    def predict(self, X):
        time.sleep(float(X[0, 0]))
        return X
"""
CLIENT_SPAN = "b7ad6b7169203331"


def client_trace(number: int, sampled: bool = True) -> tuple[str, dict[str, str]]:
    """A trace's id, and the header of its client."""
    trace = f"{number:032x}"
    return trace, {"traceparent": f"00-{trace}-{CLIENT_SPAN}-0{int(sampled)}"}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Collector]]:
    folder = tmp_path_factory.mktemp("traced")
    models = folder / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    sample_models.python_model(models, "slow", "model:Slow", SLOW, "[-1, 1]", "float32")
    with collecting() as collector, serving(models, folder, SCHWIFT_OTLP_ENDPOINT=collector.endpoint) as server:
        yield server, collector


def one(spans: list[Collected], name: str) -> Collected:
    (span,) = [span for span in spans if span.name == name]
    return span


def test_a_clients_trace_goes_through_the_adapter_into_triton(traced: tuple[Server, Collector]) -> None:
    server, collector = traced
    trace, headers = client_trace(0xA1)
    answer = server.post("predict", "multiply", [[1, 2, 3], [4, 5, 6]], headers={**headers, "X-Request-Id": "seen"})
    assert answer.status_code == 200
    spans = collector.wait_for(5, lambda span: span.trace == trace)
    request, call = one(spans, "POST /predict"), one(spans, "call multiply_direct")
    received, model, compute = one(spans, "InferRequest"), one(spans, "multiply_direct"), one(spans, "compute")
    assert [request.parent, call.parent] == [CLIENT_SPAN, request.span]
    assert [received.parent, model.parent, compute.parent] == [call.span, received.span, model.span]
    assert [span.service for span in (request, call)] == ["schwiftserve"] * 2
    assert [span.service for span in (received, model, compute)] == ["schwiftserve-triton"] * 3
    # Triton ends its own a moment after it has answered.
    assert 0 < call.seconds < request.seconds and compute.seconds > 0
    times = {name: request.attributes.pop(f"schwift.{name}_ms") for name in ("parse", "queue", "model", "write")}
    assert times["queue"] == 0 and 0 < times["parse"] < times["model"] <= request.seconds * 1e3
    assert request.attributes == {
        "http.request.method": "POST", "http.route": "/predict/{model_name}", "http.response.status_code": 200,
        "schwift.request_id": "seen", "schwift.model": "multiply", "schwift.rows": 2, "schwift.regime": "idle",
    }  # fmt: skip
    assert call.attributes == {"schwift.triton_model": "multiply_direct", "schwift.rows": 2, "schwift.requests": 1}
    assert model.attributes["triton.model_name"] == "multiply_direct"
    assert not any(span.failed or span.links for span in spans)


def test_a_joined_call_is_linked_with_all_its_requests(traced: tuple[Server, Collector]) -> None:
    """The first request is called for alone; those that come meanwhile wait and go together."""
    server, collector = traced
    given = [client_trace(0xB0 + i) for i in range(5)]

    def ask(i: int) -> int:
        return server.post("predict", "slow", [[2.0]], headers=given[i][1]).status_code

    with ThreadPoolExecutor(len(given)) as pool:
        first = pool.submit(ask, 0)
        while "schwift_in_flight 1.0" not in httpx.get(f"{server.url}/metrics").text:
            assert not first.done()
        assert [*pool.map(ask, range(1, len(given))), first.result()] == [200] * len(given)
    traces = {trace for trace, _ in given}
    requests = collector.wait_for(5, lambda span: span.trace in traces and span.name == "POST /predict")
    calls = collector.wait_for(2, lambda span: span.trace in traces and span.name == "call slow_direct")
    alone, joined = sorted(calls, key=lambda call: int(call.attributes["schwift.requests"]))
    assert [(call.attributes["schwift.requests"], call.attributes["schwift.rows"]) for call in (alone, joined)] == [
        (1, 1), (4, 4),
    ]  # fmt: skip
    assert alone.links == []
    others = {(request.trace, request.span): request for request in requests if request.trace != alone.trace}
    assert set(joined.links) == set(others) and len(joined.links) == 4
    assert (joined.trace, joined.parent) in others
    assert all(request.links == [(joined.trace, joined.span)] for request in others.values())
    # Triton's part is in the trace of the first of them.
    (compute,) = collector.wait_for(1, lambda span: span.trace == joined.trace and span.name == "compute")
    # By the wall clock, which may be set meanwhile.
    assert compute.seconds > 0.5
    waits = collector.wait_for(4, lambda span: span.trace in traces and span.name == "queue")
    assert {wait.parent for wait in waits} == {request.span for request in others.values()}
    assert all(0 < wait.seconds < alone.seconds for wait in waits)


def test_failures_are_marked_and_name_nothing_of_the_clients_choosing(traced: tuple[Server, Collector]) -> None:
    server, collector = traced
    for number, model, features, status, code in (
        (0xC0, "no-such-model", [[1.0]], 404, "unknown_model"),
        (0xC1, "slow", [["x"]], 422, "bad_features"),
    ):
        trace, headers = client_trace(number)
        assert server.post("predict", model, features, headers=headers).status_code == status
        (span,) = collector.wait_for(1, lambda span, trace=trace: span.trace == trace)  # type: ignore[misc]
        assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == (code, status)
        # A client's mistake is no failure of the server's.
        assert (span.failed, "no-such" in str(span)) == (False, False)
    trace, headers = client_trace(0xC2)
    late = server.post("predict", "slow", [[1.0]], headers={**headers, "X-Request-Timeout-Ms": "50"})
    assert late.status_code == 504
    spans = collector.wait_for(2, lambda span: span.trace == trace and span.service == "schwiftserve")
    assert {(span.name, span.failed, span.attributes["error.type"]) for span in spans} == {
        ("POST /predict", True, "deadline_exceeded"), ("call slow_direct", True, "deadline_exceeded"),
    }  # fmt: skip


def test_a_trace_that_the_client_does_not_record_is_not_recorded(traced: tuple[Server, Collector]) -> None:
    server, collector = traced
    unrecorded, headers = client_trace(0xD0, sampled=False)
    recorded, later = client_trace(0xD1)
    for sent in (headers, {"traceparent": "00-nonsense"}, later):
        assert server.post("predict", "multiply", [[1, 2, 3]], headers=sent).status_code == 200
    collector.wait_for(5, lambda span: span.trace == recorded)
    assert not [span for span in collector.spans if span.trace == unrecorded]


def test_a_collector_that_does_not_answer_disturbs_nobody(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    with socket.socket() as taken:
        # Bound and not listening: every connection is refused.
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with serving(models, tmp_path, SCHWIFT_OTLP_ENDPOINT=endpoint) as server:
            answers = [server.post("predict", "multiply", [[1, 2, 3]]).status_code for _ in range(50)]
            assert answers == [200] * 50
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 20
        assert "Traceback" not in server.output
