"""A real server of the adapter's HTTP protocol in a thread, in front of an application that does as its path says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn
from starlette.types import Receive, Scope, Send

from adapter.sockets.bounded_protocol import BoundedProtocol

TIMEOUT = 10.0


class _Recorder:
    """A transport that notes what is written to it, one item for each system call."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._written.append(bytes(data))
        self._transport.write(data)


class Running:
    """`written` is what the server wrote, on all connections; `gate` lets the application go on where it waits."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.written: list[bytes] = []
        self.gate = threading.Event()

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as sock:
            yield sock

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """/echo, /status/204, /seconds/0.5, /pieces, /late-body, /broken, /large."""
        _, action, *rest = scope["path"].split("/")

        async def answer(body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
            given = [(b"content-length", b"%d" % len(body))] if headers is None else headers
            await send({"type": "http.response.start", "status": status, "headers": given})
            await send({"type": "http.response.body", "body": body})

        if action == "status":
            await answer(b"", int(rest[0]), [])
        elif action == "seconds":
            await asyncio.sleep(float(rest[0]))
            await answer(scope["path"].encode())
        elif action == "pieces":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            # One of them ends as a head does.
            for piece in (b"one", b"two\r\n\r\n", b"three\r\n"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await self._pass()
            await send({"type": "http.response.body", "body": b""})
        elif action == "late-body":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await self._pass()
            await send({"type": "http.response.body", "body": b"late"})
        elif action == "broken":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            raise RuntimeError("on purpose")
        elif action == "large":
            await answer(b"x" * int(rest[0]))
        else:
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            await answer(body)

    async def _pass(self) -> None:
        """Through the gate, which is closed behind it."""
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        self.gate.clear()


@contextlib.contextmanager
def running(make_loop: Callable[[], asyncio.AbstractEventLoop], keep_alive: int = 30) -> Iterator[Running]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        state = Running(sock.getsockname()[1])

        class Recorded(BoundedProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                recorder = _Recorder(cast(asyncio.Transport, transport), state.written)
                super().connection_made(cast(asyncio.Transport, recorder))

        config = uvicorn.Config(
            state.app, interface="asgi3", loop="none", http=Recorded, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, date_header=False, proxy_headers=False,
            timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        loop = make_loop()

        def serve() -> None:
            try:
                loop.run_until_complete(server.serve(sockets=[sock]))
            finally:
                loop.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            ends = time.monotonic() + TIMEOUT
            while not server.started:
                assert thread.is_alive() and time.monotonic() < ends, "it did not start"
                time.sleep(0.005)
            yield state
        finally:
            server.should_exit = True
            thread.join(TIMEOUT)
            assert not thread.is_alive()
