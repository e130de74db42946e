"""The adapter's HTTP protocol on the test's own loop, with each connection at hand."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import uvicorn
from starlette.types import Receive, Scope, Send

from adapter.sockets.bounded_protocol import BoundedProtocol
from adapter.sockets.uvicorn_parts import ServerState

SECONDS = 10.0


class Connection:
    """One connection from both sides."""

    def __init__(self, protocol: BoundedProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol = protocol
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Hand bytes to the system; the server reads them on a later turn of the loop."""
        self.writer.write(data)

    def check(self, later: float) -> None:
        """What the sweep does, so many seconds from now."""
        self.protocol.check(asyncio.get_running_loop().time() + later)

    async def arrives(self, wanted: bytes) -> None:
        assert await asyncio.wait_for(self.reader.readexactly(len(wanted)), SECONDS) == wanted

    async def refusal(self) -> tuple[int, str]:
        """The status and text of an answer that closes the connection."""
        got = (await asyncio.wait_for(self.reader.read(), SECONDS)).decode()
        head, _, body = got.partition("\r\n\r\n")
        assert "\r\nconnection: close" in head.lower(), got
        return int(head.split()[1]), body

    async def closed(self) -> bool:
        """Whether the server ends it, having sent nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(), SECONDS) == b""
        except ConnectionResetError:
            return True


class BoundedServer:
    """An application that answers /now and /large at once, /begun in part, and all else with its body or at the gate.

    `received` has what came of bodies, and `left` the paths whose client left.
    """

    def __init__(self) -> None:
        self.state = ServerState()
        self.gate = asyncio.Event()
        self.received: list[bytes] = []
        self.left: list[str] = []
        self.begun: list[str] = []
        self._port = 0
        self._made: list[BoundedProtocol] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.begun.append(path)
        if path == "/large":
            await self._answer(send, b"x" * (64 << 20))
            return
        if path == "/begun":
            await self._head(send, 9)
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        if path == "/gate":
            await self.gate.wait()
        if path != "/now":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.left.append(path)
                    return
                self.received.append(message["body"])
                more = message["more_body"]
        await self._answer(send, path.encode())

    async def _answer(self, send: Send, body: bytes) -> None:
        await self._head(send, len(body))
        await send({"type": "http.response.body", "body": body})

    async def _head(self, send: Send, size: int) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})

    @contextlib.asynccontextmanager
    async def connected(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        known = len(self._made)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=tls)
        try:
            await until(lambda: len(self._made) > known and self._made[known].transport is not None)
            yield Connection(self._made[known], reader, writer)
        finally:
            self.gate.set()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await until(lambda: not self.state.connections and not self.state.tasks)

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[BoundedServer]:
        config = uvicorn.Config(
            self.app, interface="asgi3", loop="none", http=BoundedProtocol, ws="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
            timeout_keep_alive=30,
        )  # fmt: skip
        config.load()

        def make() -> asyncio.Protocol:
            self._made.append(BoundedProtocol(config=config, server_state=self.state, app_state={}))
            return self._made[-1]

        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


async def until(condition: Callable[[], object]) -> None:
    """Turn the loop until it has come to that."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + SECONDS
    while not condition():
        assert loop.time() < ends, "it never came to that"
        await asyncio.sleep(0.001)
