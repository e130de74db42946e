"""The end of the adapter's server, on real sockets: who is answered, who is refused, and how."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPResponse

import pytest
import uvicorn
import uvloop

from adapter.backend.protocol import Arrays
from adapter.sockets.connection_bounds import HeadBounds
from adapter.sockets.fast_protocol import predict_protocol
from adapter.sockets.graceful import GracefulServer
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.connections import WholeConnection
from tests.support.http.web_app import make_app

SECONDS = 60.0
# After so long a signal is another one.
AGAIN = 1.1
BODY = json.dumps({"features": [[1, 2, 3, 4]]})


class Running:
    """A server whose model answers once `let_go` was called."""

    def __init__(self, connection: type[HTTPConnection]) -> None:
        self._connection = connection
        self.backend = FakeBackend(self._wait)
        self.port = 0
        self._gate = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: GracefulServer | None = None
        self._thread: threading.Thread | None = None
        self._connections = contextlib.ExitStack()

    def start(self, drain: float, answer_seconds: int = 15) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            app = make_app(self.backend)
            config = uvicorn.Config(
                app, loop="none", http=predict_protocol(app.endpoint, HeadBounds()), ws="none", lifespan="on",
                log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=answer_seconds,
            )  # fmt: skip
            self._server = GracefulServer(config, app.endpoint.drain, drain)
            await self._server.serve(sockets=[sock])

        def run() -> None:
            with contextlib.closing(uvloop.new_event_loop()) as loop:
                loop.run_until_complete(serve())

        self._thread = threading.Thread(target=run)
        self._thread.start()
        wait_until(lambda: self.ready().status == 200)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """As the handler of a signal is called."""
        assert self._server is not None and self._loop is not None
        self._loop.call_soon_threadsafe(self._server.handle_exit, number, None)
        wait_until(lambda: self._server is not None and self._server.draining)

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """For the length of a block the loop does not turn, from the moment of the signal on."""
        assert self._server is not None and self._loop is not None
        server, done = self._server, threading.Event()

        def block() -> None:
            server.handle_exit(signal.SIGTERM, None)
            done.wait(SECONDS)

        self._loop.call_soon_threadsafe(block)
        wait_until(lambda: server.draining)
        yield
        done.set()

    def let_go(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._gate.set)

    def close(self) -> None:
        # Its loop may have ended.
        with contextlib.suppress(RuntimeError):
            self.let_go()
        self.join()
        self._connections.close()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def connect(self) -> HTTPConnection:
        connection = self._connection("127.0.0.1", self.port, timeout=SECONDS)
        return self._connections.enter_context(contextlib.closing(connection))

    def ready(self) -> HTTPResponse:
        with contextlib.closing(self.connect()) as connection:
            return ask_ready(connection)

    def in_flight(self) -> HTTPConnection:
        """A connection whose request is with the model."""
        before = len(self.backend.calls)
        connection = self.connect()
        post(connection)
        wait_until(lambda: len(self.backend.calls) > before)
        return connection

    async def _wait(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await self._gate.wait()
        return await zeros(model, arrays, outputs)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def refused(running: Running) -> bool:
    """Whether nobody may connect any more."""
    try:
        running.connect().connect()
    except ConnectionRefusedError:
        return True
    return False


def ask_ready(connection: HTTPConnection) -> HTTPResponse:
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    answer.read()
    return answer


def post(connection: HTTPConnection) -> None:
    connection.request("POST", "/predict/m", BODY, {"Content-Type": "application/json"})


def assert_predicted(answer: HTTPResponse) -> None:
    assert (answer.status, json.loads(answer.read())) == (200, {"model": "m", "predictions": [[0.0, 0.0]]})
    assert answer.headers["Connection"] == "close"


def assert_draining(answer: HTTPResponse) -> None:
    assert (answer.status, json.loads(answer.read())["code"]) == (503, "draining")
    assert answer.headers["Connection"] == "close"
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.fixture(params=[HTTPConnection, WholeConnection])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    server = Running(request.param)
    yield server
    server.close()
    assert server.backend.closed


def test_for_the_drain_everybody_is_served_and_told_to_close(running: Running) -> None:
    running.start(drain=1000)
    waiting, kept = running.in_flight(), running.connect()
    assert ask_ready(kept).status == 200
    running.signal()
    kept.request("GET", "/health/ready")
    answer = kept.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (503, "draining")
    assert answer.headers["Connection"] == "close"
    running.let_go()
    new = running.connect()
    post(new)
    for connection in (waiting, new):
        assert_predicted(connection.getresponse())
    new.request("GET", "/health/live")
    assert new.getresponse().status == 200
    assert not refused(running)
    # Another one a moment later may be the same, sent to a whole group of processes.
    running.signal()
    time.sleep(0.3)
    assert not refused(running)
    running.signal(signal.SIGINT)
    running.join()
    assert refused(running)


def test_another_signal_ends_the_drain_and_what_is_in_flight_is_answered(running: Running) -> None:
    running.start(drain=1000)
    waiting = running.in_flight()
    running.signal()
    time.sleep(AGAIN)
    running.signal()
    wait_until(lambda: refused(running))
    running.let_go()
    assert_predicted(waiting.getresponse())
    running.join()


def test_the_interrupt_of_a_terminal_has_no_drain(running: Running) -> None:
    running.start(drain=1000)
    waiting = running.in_flight()
    running.signal(signal.SIGINT)
    wait_until(lambda: refused(running))
    running.let_go()
    assert_predicted(waiting.getresponse())
    running.join()


def test_who_was_accepted_last_is_served_though_its_request_comes_later(running: Running) -> None:
    running.start(drain=0)
    running.let_go()
    with contextlib.closing(running.connect()) as late:
        late.connect()
        running.signal()
        wait_until(lambda: refused(running))
        post(late)
        assert_predicted(late.getresponse())
    running.join()


def test_connections_that_nobody_has_accepted_yet_are_served(running: Running) -> None:
    """A loop that is blocked meanwhile finds them in the kernel's queue at its end."""
    running.start(drain=0)
    running.let_go()
    queued = [running.connect() for _ in range(20)]
    with running.blocked():
        for connection in queued:
            post(connection)
    wait_until(lambda: refused(running))
    for connection in queued:
        assert_predicted(connection.getresponse())
    running.join()


def test_after_a_moment_nobody_may_connect_and_kept_connections_are_told(running: Running) -> None:
    """Without a drain a client that keeps its connection has a moment for its next request."""
    running.start(drain=0)
    waiting, kept, idle = running.in_flight(), running.connect(), running.connect()
    assert ask_ready(kept).status == 200
    assert ask_ready(idle).status == 200
    running.signal()
    post(kept)
    wait_until(lambda: refused(running))
    running.let_go()
    for connection in (waiting, kept):
        assert_predicted(connection.getresponse())
    assert idle.sock.recv(1) == b""
    running.join()


def test_what_outlasts_the_drain_is_told_so(running: Running) -> None:
    running.start(drain=0, answer_seconds=2)
    waiting = running.in_flight()
    running.signal()
    assert_draining(waiting.getresponse())
    running.join()


def test_without_connections_it_ends_at_once(running: Running) -> None:
    running.start(drain=0, answer_seconds=1000)
    running.signal()
    running.join()
    assert refused(running)
