"""Small predictions from the HTTP parser straight to their endpoint, and back in one write.

uvicorn's way to an application, with its scope, cycle, events and messages, costs an eighth of the adapter's work on a
request of one row (docs/performance.md). A request that came whole in one packet, on a predict endpoint of a model that
is there, needs none of them. Nor is its head parsed again where it is, to the byte, the last one that came on the
connection, as most clients send it. All others, and whatever is not plain about one, go the usual way: what is
pipelined behind another, a body that is large or comes in pieces, `Expect`, `Connection: close`, another form of the
address.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from starlette.types import Message, Receive

from adapter.http.answer import Answer
from adapter.http.predict import LEFT, Headers, PredictEndpoint
from adapter.limits.access_policy import Need
from adapter.sockets.bounded_protocol import BoundedProtocol
from adapter.sockets.connection_bounds import HeadBounds
from adapter.sockets.stepping import HEAD_END
from adapter.sockets.uvicorn_parts import STATUS_LINE
from adapter.sockets.watched_protocol import BODY, BOUNDARY, HEAD
from adapter.workers.counters import EndpointName


async def _nothing() -> Message:
    raise RuntimeError("the body is there")


class _Cycle:
    """A small prediction, and what uvicorn asks of the request that a connection is at."""

    __slots__ = ("_client", "body", "disconnected", "endpoint", "headers", "keep_alive", "name", "named",
                 "response_complete", "task")  # fmt: skip
    # Who asks with a query goes the usual way.
    query = b""
    # uvicorn sets it when there is something to receive, and nobody waits for that here.
    message_event = asyncio.Event()
    receive: Receive = staticmethod(_nothing)

    def __init__(
        self,
        endpoint: EndpointName,
        name: str,
        headers: Headers,
        named: Iterable[tuple[bytes, bytes]],
        client: tuple[str, int] | None,
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self.headers = headers
        self.named = named
        self.body = b""
        self.disconnected = self.response_complete = False
        self.keep_alive = True
        self.task: asyncio.Task[None] | None = None
        self._client = client

    @property
    def need(self) -> Need:
        # What its path needs: PredictEndpoint.known took it apart.
        return _need(self.name)

    @property
    def client(self) -> str:
        return self._client[0] if self._client else "-"


@functools.lru_cache(maxsize=1024)
def _need(name: str) -> Need:
    return Need("predict", name)


class _Defaults:
    """The text of the headers that each answer has, made anew when they change: the date does, every second."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._count = 0
        self._text = b""
        # Whether connections are to be closed.
        self.closing = False

    def text(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        # The drain adds to the list in place.
        if headers is not self._headers or len(headers) != self._count:
            self._headers, self._count = headers, len(headers)
            self._text = b"".join([b"%b: %b\r\n" % header for header in headers])
            self.closing = any(name.lower() == b"connection" for name, _ in headers)
        return self._text


_defaults = _Defaults()


class _Repeated(NamedTuple):
    """What the last head of a connection said, for a packet that begins with the very same bytes."""

    head: bytes
    # The bytes of the head and its body.
    size: int
    endpoint: EndpointName
    name: str
    headers: Headers
    named: Iterable[tuple[bytes, bytes]]


class PredictProtocol(BoundedProtocol):
    """A connection whose small predictions go straight to their endpoint.

    For `uvicorn.Config(app, http=predict_protocol(endpoint, bounds), proxy_headers=False)`.

    Raises: TypeError if the server has proxy_headers, root_path or limit_concurrency.
    """

    endpoint: PredictEndpoint

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Nothing that uvicorn puts around an application would see these requests.
        if self.config.proxy_headers or self.root_path or self.limit_concurrency is not None:
            raise TypeError("predictions need a server without proxy_headers, root_path and limit_concurrency")
        self._most_digits = len(str(self.endpoint.small))
        # Its head was read, and its body may have been.
        self._pending: _Cycle | None = None
        self._repeated: _Repeated | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the last head too, with all else that the connection kept."""
        super().connection_lost(exc)
        self._repeated = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; start at once a request whose head is, to the byte, the last one of this connection."""
        known, before = self._repeated, self.cycle
        is_free = self._stage == BOUNDARY and self._unread is None and (before is None or before.response_complete)
        if known is not None and is_free and len(data) == known.size and data.startswith(known.head) and not self._deaf:
            cycle = _Cycle(known.endpoint, known.name, known.headers, known.named, self.client)
            cycle.body = data[len(known.head) :]
            self._start(cycle)
            return
        super().data_received(data)
        cycle = cast(Any, self.cycle)
        if is_free and cycle is not before and type(cycle) is _Cycle and len(data) <= self._small:
            end = data.find(HEAD_END) + len(HEAD_END)
            # One request, whole, and nothing else in the packet.
            if end + len(cycle.body) == len(data) and data.endswith(cycle.body):
                self._repeated = _Repeated(
                    data[:end], len(data), cycle.endpoint, cycle.name, cycle.headers, cycle.named
                )

    def on_message_begin(self) -> None:
        """Begin the head of a request, without the scope that uvicorn makes: the short cut needs none."""
        # uvicorn's makes the scope, which is made where it is needed.
        self._stage = HEAD
        self._hosts = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Keep the request for the short cut if it may take that, else hand it to the application."""
        self._pending = self._express()
        if self._pending is None:
            self._usual_way()

    def _leave_short_cut(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and not self.transport.is_closing():
            left = self._left
            self._usual_way()
            self._left = left
            if pending.body:
                super().on_body(pending.body)

    def on_body(self, body: bytes) -> None:
        """Add a part of the body to the request, whichever way that goes."""
        if self._pending is None:
            super().on_body(body)
        else:
            self._pending.body += body

    def on_message_complete(self) -> None:
        """Start to answer a request of the short cut, now that it is whole; end any other as usual."""
        cycle = self._pending
        if cycle is None:
            super().on_message_complete()
            return
        self._pending = None
        self._stage = BOUNDARY
        self._start(cycle)

    def _start(self, cycle: _Cycle) -> None:
        self.cycle = cast(Any, cycle)
        cycle.task = self.loop.create_task(self._serve(cycle))
        self.tasks.add(cycle.task)

    def _express(self) -> _Cycle | None:
        """Return the request whose head was read, if it may take the short cut, else None."""
        endpoint, parser = self.endpoint, self.parser
        if (found := endpoint.known(self.url)) is None or parser.get_method() != b"POST":
            return None
        if self._hosts != 1 or len(self.headers) > self._most_headers or self._head.is_old:
            return None
        if self.expect_100_continue or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        headers = Headers(self.headers)
        length = headers.length
        if headers.chunked or not length.isdigit() or len(length) > self._most_digits or int(length) > endpoint.small:
            return None
        self._stage, self._left, self._chunked = BODY, int(length), False
        return _Cycle(*found, headers, self.headers, self.client)

    def _usual_way(self) -> None:
        """Hand the request whose head was read to the application, as uvicorn would have."""
        url, headers, expects, hosts = self.url, self.headers, self.expect_100_continue, self._hosts
        super().on_message_begin()
        self.url, self.expect_100_continue, self._hosts = url, expects, hosts
        # The scope has this very list.
        self.headers += headers
        super().on_headers_complete()

    async def _serve(self, cycle: _Cycle) -> None:
        try:
            answer = await self.endpoint.answer(cycle)
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
            if not cycle.disconnected:
                self._write(cycle, answer)
        except BaseException as error:
            # As uvicorn does: the server is ending, or it is a fault of ours.
            self.logger.error("Exception in a prediction", exc_info=error)
            self.transport.close()
        finally:
            cycle.response_complete = True
            self.tasks.discard(cast(Any, cycle.task))

    def _write(self, cycle: _Cycle, answer: Answer) -> None:
        if answer.status == LEFT:
            return
        defaults, content = _defaults.text(self.server_state.default_headers), answer.content
        lines = answer.head(STATUS_LINE[answer.status], defaults)
        # Not held back for what may follow, as the head of an answer in pieces is.
        self.transport.write(lines + content)
        cycle.response_complete = True
        if _defaults.closing or not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


def predict_protocol(endpoint: PredictEndpoint, bounds: HeadBounds) -> type[PredictProtocol]:
    """Make the protocol of connections whose predictions this endpoint answers."""
    return type("Protocol", (PredictProtocol,), {"endpoint": endpoint, "head_bounds": bounds})
