"""A collector of traces on a socket of this machine: keeps what is sent to it with OTLP over HTTP."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SECONDS = 20
JSON = "application/json"


@dataclass(frozen=True)
class Collected:
    """One span. Ids are hex; `parent` is empty for the first of a trace; `links` are pairs of trace and span."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    seconds: float
    failed: bool


@dataclass
class Collector:
    port: int
    spans: list[Collected] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int, wanted: Callable[[Collected], bool]) -> list[Collected]:
        """The first so many that are wanted, once they are there."""
        deadline = time.monotonic() + SECONDS
        while len(found := [span for span in list(self.spans) if wanted(span)]) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} spans came, of {len(self.spans)}"
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def collecting(listener: socket.socket | None = None) -> Iterator[Collector]:
    """On a free port of this machine, or where `listener` listens, which is closed in the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            kind = self.headers["Content-Type"]
            collector.spans.extend(_spans(_request(kind, body)) if self.path == "/v1/traces" else ())
            empty = ExportTraceServiceResponse()
            answer = b"{}" if kind == JSON else empty.SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if listener is not None:
        server.socket.close()
        server.socket = listener
    collector = Collector(server.socket.getsockname()[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _request(kind: str, body: bytes) -> ExportTraceServiceRequest:
    """The adapter sends protobuf, Triton JSON: as protobuf has it, but with ids in hex."""
    if kind != JSON:
        assert kind == "application/x-protobuf"
        sent: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
        return sent
    head = json.loads(body)
    for resource in head["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    span[key] = base64.b64encode(bytes.fromhex(span.get(key, ""))).decode()
    request: ExportTraceServiceRequest = json_format.ParseDict(head, ExportTraceServiceRequest())
    return request


def _spans(request: ExportTraceServiceRequest) -> Iterator[Collected]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Collected(
                    service=service,
                    name=span.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_attributes(span.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
