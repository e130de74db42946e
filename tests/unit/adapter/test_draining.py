"""The end of the adapter's server, on real sockets: who is refused, who is answered, and how."""

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

from adapter.app import create_app
from adapter.backend.protocol import Arrays
from adapter.draining import DrainingServer
from adapter.express import ExpressProtocol
from converter.spec.manifest import Tensor
from converter.spec.settings import load_settings
from tests.fakes.backend import FakeBackend, zeros
from tests.fakes.connections import WholeConnection
from tests.fakes.entries import make_manifest

SECONDS = 10.0
BODY = json.dumps({"features": [[1, 2, 3, 4]]})


class Running:
    """A server whose model answers once `let_go` was called."""

    def __init__(self, connection: type[HTTPConnection]) -> None:
        self._connection = connection
        self.backend = FakeBackend(self._wait)
        self.port = 0
        self._gate = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: DrainingServer | None = None
        self._thread: threading.Thread | None = None
        self._connections = contextlib.ExitStack()

    def start(self, linger: float, drain_seconds: int) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            app = create_app(load_settings(None), make_manifest(), lambda: self.backend)
            config = uvicorn.Config(
                app, loop="none", http=ExpressProtocol, ws="none", lifespan="on", log_config=None, access_log=False,
                proxy_headers=False, timeout_graceful_shutdown=drain_seconds,
            )  # fmt: skip
            self._server = DrainingServer(config, app.drain, linger)
            await self._server.serve(sockets=[sock])

        def run() -> None:
            with contextlib.closing(uvloop.new_event_loop()) as loop:
                loop.run_until_complete(serve())

        self._thread = threading.Thread(target=run)
        self._thread.start()
        wait_until(lambda: self.ready().status == 200)

    def signal(self) -> None:
        """As the handler of a signal is called."""
        assert self._server is not None
        self._server.handle_exit(signal.SIGTERM, None)

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


def test_who_comes_after_the_signal_is_told_and_who_was_there_is_answered(running: Running) -> None:
    running.start(linger=SECONDS, drain_seconds=15)
    waiting, kept = running.in_flight(), running.connect()
    assert ask_ready(kept).status == 200
    running.signal()
    kept.request("GET", "/health/ready")
    answer = kept.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (503, "draining")
    assert answer.headers["Connection"] == "close"
    new = running.connect()
    post(new)
    assert_draining(new.getresponse())
    new.request("GET", "/health/live")
    assert new.getresponse().status == 200
    running.let_go()
    answer = waiting.getresponse()
    assert (answer.status, json.loads(answer.read())) == (200, {"model": "m", "predictions": [[0.0, 0.0]]})
    assert answer.headers["Connection"] == "close"
    for connection in (waiting, kept, new):
        connection.close()
    running.join()
    assert refused(running)


def test_after_a_moment_nobody_may_connect_and_kept_connections_are_told(running: Running) -> None:
    running.start(linger=0, drain_seconds=15)
    waiting, kept = running.in_flight(), running.connect()
    assert ask_ready(kept).status == 200
    running.signal()

    wait_until(lambda: refused(running))
    post(kept)
    assert_draining(kept.getresponse())
    running.let_go()
    assert waiting.getresponse().status == 200
    running.join()


def test_what_outlasts_the_drain_is_told_so(running: Running) -> None:
    running.start(linger=0, drain_seconds=1)
    waiting = running.in_flight()
    running.signal()
    assert_draining(waiting.getresponse())
    running.join()


def test_without_connections_it_ends_at_once(running: Running) -> None:
    running.start(linger=1000, drain_seconds=1000)
    running.signal()
    running.join()
    assert refused(running)
