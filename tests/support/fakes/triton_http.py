"""Triton's HTTP side on a socket of this machine: `reply` writes the bytes of each answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter.backend.raw_tensors import to_raw

Output = tuple[str, str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Request:
    """One request as it came: the number of its connection, the head with its empty line, the body."""

    connection: int
    head: bytes
    body: bytes


Reply = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def raw_answer(
    head: dict[str, Any], raws: bytes, order: Sequence[str] = ("Inference-Header-Content-Length", "Content-Length")
) -> bytes:
    """A 200 of this JSON and these raw tensors, its two lengths named as and in the order of `order`."""
    text = json.dumps(head).encode()
    lengths = {"inference-header-content-length": len(text), "content-length": len(text) + len(raws)}
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/octet-stream"]
    lines += [f"{name}: {lengths[name.lower()]}" for name in order]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text + raws


def good_answer(
    outputs: Sequence[Output], order: Sequence[str] = ("Inference-Header-Content-Length", "Content-Length")
) -> bytes:
    """Triton's answer with these outputs: name, datatype and values."""
    raws = [to_raw(array) for _, _, array in outputs]
    head = {
        "model_name": "m_direct",
        "model_version": "1",
        "outputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
            for (name, datatype, array), raw in zip(outputs, raws, strict=True)
        ],
    }
    return raw_answer(head, b"".join(raws), order)


def error_answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Reason\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def always(data: bytes) -> Reply:
    """Every request gets these bytes."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return reply


@dataclass
class FakeTritonHttp:
    """Answers requests one after another on each connection; `ended` are the connections that are over."""

    reply: Reply
    requests: list[Request] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serving(self, path: Path | None = None) -> AsyncIterator[str]:
        """The address while it listens, on a Unix socket at `path`; every connection is closed at the end."""
        if path is None:
            server = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        else:
            server = await asyncio.start_unix_server(self.converse, path)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}" if path is None else f"unix:{path}"
        finally:
            server.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in self.writers:
                writer.transport.abort()
            await asyncio.sleep(0)
            await server.wait_closed()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        number = len(self.writers)
        self.writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_content_length(head))
                request = Request(number, head, body)
                self.requests.append(request)
                await self.reply(request, writer)
                await writer.drain()
        self.ended.add(number)
        writer.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"Content-Length":
            return int(value)
    raise AssertionError(f"no Content-Length: {head!r}")


def value_of(request: Request) -> float:
    """Return the first number of a request whose row has two."""
    return float(np.frombuffer(request.body[-8:], np.float32)[0])


def one(value: float) -> bytes:
    """The answer with this number."""
    return good_answer([("y", "FP32", np.array([[value, 0]], np.float32))])


async def echo(request: Request, writer: asyncio.StreamWriter) -> None:
    """A request's own number is its answer."""
    writer.write(one(value_of(request)))


async def until(holds: Callable[[], object]) -> None:
    """Give the server's side of the loop time, and not for ever."""
    ends = time.monotonic() + 2
    while not holds():
        assert time.monotonic() < ends, "it did not come to pass"
        await asyncio.sleep(0.001)


async def let_both_sides_read() -> None:
    """Give the loop so many turns that what was to be written now is read."""
    for _ in range(20):
        await asyncio.sleep(0.001)


def late(fake: FakeTritonHttp, gate: asyncio.Event) -> Reply:
    """The first answer comes once the gate is open, the others at once."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if request is fake.requests[0]:
            writer.write(one(99)[:20])
            await gate.wait()
            writer.write(one(99)[20:])
        else:
            await echo(request, writer)

    return reply
