"""A server on a real socket that answers as a test says, and counts what it is asked."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from schwift.load.load_generator import LoadGenerator, LoadStep, LoadTarget
from schwift.load.load_record import LoadRecord

REQUEST = b"POST /predict/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def response(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Scripted:
    """`requests` are the bodies that came, and `connections` how many came to send them."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def run(
        self, step: LoadStep, *requests: bytes, check: bool = False, tls: ssl.SSLContext | None = None
    ) -> LoadGenerator:
        """Load it."""
        load = LoadGenerator(LoadTarget("127.0.0.1", self.port, requests or (REQUEST,), tls), step, LoadRecord(check))
        await asyncio.wait_for(load.run(), 30)
        return load


Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve; `answer` gets the number of each request, from 0, and writes what comes back."""
    server = Scripted()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                server.requests.append(await reader.readexactly(int(length[1]) if length else 0))
                await answer(len(server.requests) - 1, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls, backlog=1000)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@asynccontextmanager
async def late_handshakes(port: int, seconds: float) -> AsyncIterator[Scripted]:
    """Take connections for the server at a port, which hears of each so much later: TLS takes as long to open."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(over.wait(), seconds)
        except asyncio.TimeoutError:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(carry(reader, back), carry(there, writer))
        finally:
            writer.close()

    over = asyncio.Event()
    listening = await asyncio.start_server(forward, "127.0.0.1", 0, backlog=1000)
    try:
        yield Scripted(listening.sockets[0].getsockname()[1])
    finally:
        over.set()
        listening.close()


async def answer_at_once(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(response())
