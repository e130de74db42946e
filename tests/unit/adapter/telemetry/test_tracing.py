"""A request's spans, with a tracer that keeps them; tests/observability has the whole way to a collector."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode, Tracer

from adapter import __main__ as entry_point
from adapter import errors
from adapter.request_timings import RequestTimings, RequestTrace, Traces
from adapter.telemetry import tracing
from converter.errors import ConfigError
from converter.schema.settings import load_settings
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http.web_app import make_app, running

ROW = [[1, 2, 3, 4]]


class Noted(Traces):
    """What the adapter tells of each request, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(
        self, headers: Iterable[tuple[bytes, bytes]], endpoint: str, model: str | None, request_id: str
    ) -> RequestTrace:
        self.told.append(("begin", endpoint, model, request_id))
        return _Noted(self)

    def close(self) -> None:
        self.told.append("close")


class _Noted(RequestTrace):
    def __init__(self, traces: Noted) -> None:
        self._told = traces.told

    def queued(self, seconds: float, ago: float) -> None:
        self._told.append(("queued", seconds >= 0, ago >= 0))

    @contextlib.contextmanager
    def call(self, joined: Sequence[RequestTrace], model: str, rows: int) -> Iterator[None]:
        self._told.append(("call", len(joined), model, rows))
        yield

    def finish(self, timings: RequestTimings, status: int, code: str) -> None:
        self._told.append(("finish", timings.rows, status, code))


def told(*paths: str, regime: str = "idle") -> list[Any]:
    """One POST of one row to each path, one after the other."""
    traces = Noted()
    app = make_app(FakeBackend(), make_entry("m"), traces=traces, regime=regime)

    async def main() -> None:
        async with running(app) as client:
            for path in paths:
                await client.post(path, json={"features": ROW}, headers={"X-Request-Id": "id"})

    asyncio.run(main())
    return traces.told


@pytest.mark.parametrize(
    ("regime", "model", "waits"),
    [("idle", "m_direct", []), ("busy", "m", []), ("rush", "m_direct", [("queued", True, True)])],
)
def test_what_is_told_of_a_request(regime: str, model: str, waits: list[Any]) -> None:
    assert told("/predict_batched/m", regime=regime) == [
        ("begin", "predict_batched", "m", "id"), ("call", 1, model, 1), *waits, ("finish", 1, 200, "ok"), "close",
    ]  # fmt: skip


def test_what_is_told_of_a_refused_request() -> None:
    assert told("/predict/other") == [("begin", "predict", None, "id"), ("finish", 0, 404, "unknown_model"), "close"]


@pytest.fixture
def kept() -> Iterator[tuple[Tracer, InMemorySpanExporter]]:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter
    provider.shutdown()


def test_the_header_of_a_call_names_its_span_and_ends_with_it(kept: tuple[Tracer, InMemorySpanExporter]) -> None:
    tracer, exporter = kept
    request = tracing.RequestSpan(tracer, tracer.start_span("request"))
    with request.call([request], "m_direct", 3):
        lines = tracing.call_headers()
    assert tracing.call_headers() == b""
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    context = span.context
    ids = (context.trace_id, context.span_id, context.trace_flags)
    assert lines == b"traceparent: 00-%032x-%016x-%02x\r\n" % ids


def test_a_failed_call_ends_its_span_with_the_code(kept: tuple[Tracer, InMemorySpanExporter]) -> None:
    tracer, exporter = kept
    request = tracing.RequestSpan(tracer, tracer.start_span("request"))
    for error in (errors.ModelProcessDead("gone"), RuntimeError("ours")):
        with pytest.raises(type(error)), request.call([request], "m_direct", 1):
            raise error
        assert tracing.call_headers() == b""
    codes = [span.attributes and span.attributes["error.type"] for span in exporter.get_finished_spans()]
    assert codes == ["model_process_dead", "internal_error"]
    assert not any(span.status.is_ok or span.events for span in exporter.get_finished_spans())


def test_a_wait_lies_where_it_was(kept: tuple[Tracer, InMemorySpanExporter]) -> None:
    tracer, exporter = kept
    request = tracing.RequestSpan(tracer, tracer.start_span("request"))
    request.queued(0.25, 0.5)
    request.finish(RequestTimings(), 200, "ok")
    wait, whole = exporter.get_finished_spans()
    assert wait.end_time and wait.start_time and whole.end_time and wait.parent
    assert wait.end_time - wait.start_time == 250_000_000
    assert whole.end_time - wait.end_time >= 500_000_000
    assert wait.parent.span_id == (whole.context and whole.context.span_id)


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    entry_point.check_extras(load_settings(None))
    settings = load_settings(None, otlp_endpoint="http://127.0.0.1:1")
    entry_point.check_extras(settings)
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ConfigError, match=r"SCHWIFT_OTLP_ENDPOINT needs .*'\.\[otel\]'"):
        entry_point.check_extras(settings)
    entry_point.check_extras(load_settings(None))


@pytest.mark.parametrize(
    ("status", "code", "regime", "failed"),
    [
        (200, "ok", None, False),
        (200, "ok", "rush", False),
        (422, "bad_features", "idle", False),
        (503, "x", None, True),
    ],
)
def test_the_end_of_a_request_has_what_is_known_of_it(
    kept: tuple[Tracer, InMemorySpanExporter], status: int, code: str, regime: Any, failed: bool
) -> None:
    tracer, exporter = kept
    timings = RequestTimings()
    timings.rows, timings.parse, timings.regime = 3, 0.5, regime
    tracing.RequestSpan(tracer, tracer.start_span("request")).finish(timings, status, code)
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert (span.attributes["http.response.status_code"], span.attributes["schwift.rows"]) == (status, 3)
    assert span.attributes["schwift.parse_ms"] == 500
    assert span.attributes.get("schwift.regime") == regime
    assert span.attributes.get("error.type") == (None if code == "ok" else code)
    assert (span.status.status_code is StatusCode.ERROR) == failed


def test_a_call_for_several_is_linked_with_each_of_them_both_ways(kept: tuple[Tracer, InMemorySpanExporter]) -> None:
    tracer, exporter = kept
    first, second = (tracing.RequestSpan(tracer, tracer.start_span(name)) for name in ("first", "second"))
    with first.call([first, second], "m_direct", 2):
        pass
    for request in (first, second):
        request.finish(RequestTimings(), 200, "ok")
    call, *requests = exporter.get_finished_spans()
    assert call.parent is not None and call.parent.span_id == (requests[0].context and requests[0].context.span_id)
    assert [link.context.span_id for link in call.links] == [span.context and span.context.span_id for span in requests]
    assert all([link.context.span_id for link in span.links] == [call.context and call.context.span_id]
               for span in requests)  # fmt: skip
    assert call.attributes and call.attributes["schwift.requests"] == 2


def test_a_call_that_is_not_sampled_has_no_header() -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    request = tracing.RequestSpan(provider.get_tracer("test"), provider.get_tracer("test").start_span("request"))
    with request.call([request], "m_direct", 1):
        assert tracing.call_headers() == b""


@pytest.mark.parametrize("model", ["m", None])
def test_a_request_is_the_child_of_what_its_client_names(model: str | None) -> None:
    """And nothing that it cannot send keeps the end waiting: nobody listens there."""
    traces = tracing.Tracing("http://127.0.0.1:1", 0)
    parent = b"00-%032x-%016x-00" % (0xABC, 0xDEF)
    try:
        child = traces.begin([(b"host", b"t"), (b"traceparent", parent)], "predict", model, "id")
        alone = traces.begin([(b"host", b"t")], "predict", model, "id")
        assert isinstance(child, tracing.RequestSpan) and isinstance(alone, tracing.RequestSpan)
        assert child.span.get_span_context().trace_id == 0xABC
        assert alone.span.get_span_context().trace_id not in (0, 0xABC)
        attributes = getattr(alone.span, "attributes", {})
        assert (attributes["http.route"], attributes.get("schwift.model")) == ("/predict/{model_name}", model)
    finally:
        traces.close()
