"""Traces of requests, sent with OTLP over HTTP, if SCHWIFT_OTLP_ENDPOINT is set; needs the extra `otel`.

A request is a span, the child of the `traceparent` that its client sent; its wait in the queue and its call of Triton
are children of it. A call that was made for several requests is the child of the first, and it and they are linked
both ways. Triton goes on with the trace from the header of the call. Sampling, queues and headers of the export are
set by OpenTelemetry's own environment variables (OTEL_TRACES_SAMPLER, OTEL_BSP_…, OTEL_EXPORTER_OTLP_HEADERS).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from adapter import VERSION
from adapter.error_codes import STATUS_OF
from adapter.errors import AdapterError
from adapter.request_timings import RequestTimings, RequestTrace

SERVICE = "schwiftserve"
_SERVER_FAULT = 500
# One export is given up after so long. What is still to be sent when the server ends has a little longer.
_EXPORT_SECONDS = 3.0
_CLOSE_SECONDS = 5.0
_PROPAGATOR = TraceContextTextMapPropagator()
_W3C = (b"traceparent", b"tracestate")
# The trace that a call of Triton belongs to, for the connection that makes the call: lines of an HTTP head.
_call_lines: ContextVar[bytes] = ContextVar("call_headers", default=b"")
# What `HttpInference` adds to the head of the call that is being made; empty outside of a trace.
call_headers = _call_lines.get


class Tracing:
    """Begin and send the traces of one worker; made after it forked, since it has a thread that sends."""

    def __init__(self, endpoint: str, worker: int) -> None:
        resource = Resource.create(
            {"service.name": SERVICE, "service.version": VERSION, "service.instance.id": str(worker)}
        )
        # Ours alone: libraries that trace by themselves find no global provider.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("schwift", VERSION)

    def begin(
        self, headers: Iterable[tuple[bytes, bytes]], endpoint: str, model: str | None, request_id: str
    ) -> RequestTrace:
        """Begin the span of a request, as a child of the one that its headers name."""
        given = {name.decode(): value.decode("latin-1") for name, value in headers if name in _W3C}
        attributes = {
            "http.request.method": "POST",
            "http.route": f"/{endpoint}/{{model_name}}",
            "schwift.request_id": request_id,
        }
        if model is not None:
            attributes["schwift.model"] = model
        span = self._tracer.start_span(
            f"POST /{endpoint}",
            context=_PROPAGATOR.extract(given) if given else None,
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        return RequestSpan(self._tracer, span)

    def close(self) -> None:
        """Send what is left, within some seconds."""
        # Its own patience is 30 seconds.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(_CLOSE_SECONDS)


class RequestSpan:
    """The RequestTrace of one request, around its span."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self.span = span
        self._tracer = tracer
        self._context = set_span_in_context(span)

    def queued(self, seconds: float, ago: float) -> None:
        """Add a span for the wait in the queue."""
        ended = time.time_ns() - int(ago * 1e9)
        span = self._tracer.start_span("queue", context=self._context, start_time=ended - int(seconds * 1e9))
        span.end(ended)

    @contextlib.contextmanager
    def call(self, joined: Sequence[RequestTrace], model: str, rows: int) -> Iterator[None]:
        """Span a call of Triton for the length of a block, and have Triton go on with the trace."""
        requests = [trace.span for trace in joined if isinstance(trace, RequestSpan)]
        # A request that is called for alone is its call's parent, and needs no link to it.
        several = requests if len(requests) > 1 else []
        span = self._tracer.start_span(
            f"call {model}",
            context=self._context,
            kind=SpanKind.CLIENT,
            links=[Link(request.get_span_context()) for request in several],
            attributes={"schwift.triton_model": model, "schwift.rows": rows, "schwift.requests": len(requests)},
        )
        for request in several:
            request.add_link(span.get_span_context())
        token = _call_lines.set(_head_lines(span))
        try:
            yield
        except Exception as error:
            code = STATUS_OF[type(error)][1] if isinstance(error, AdapterError) else "internal_error"
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            _call_lines.reset(token)
            span.end()

    def finish(self, timings: RequestTimings, status: int, code: str) -> None:
        """End the span with what is known of the request."""
        span = self.span
        span.set_attributes(
            {
                "http.response.status_code": status,
                "schwift.rows": timings.rows,
                "schwift.parse_ms": timings.parse * 1e3,
                "schwift.queue_ms": timings.queue * 1e3,
                "schwift.model_ms": timings.model * 1e3,
                "schwift.write_ms": timings.write * 1e3,
            }
        )
        if timings.regime is not None:
            span.set_attribute("schwift.regime", timings.regime)
        if code != "ok":
            span.set_attribute("error.type", code)
        if status >= _SERVER_FAULT:
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _head_lines(span: Span) -> bytes:
    if not span.get_span_context().trace_flags.sampled:
        # Triton would trace it all the same.
        return b""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span))
    return b"".join([b"%b: %b\r\n" % (name.encode(), value.encode("latin-1")) for name, value in carrier.items()])
