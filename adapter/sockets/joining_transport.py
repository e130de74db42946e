"""The two ways of a connection: answers go out in one packet, and nothing is read while something waits."""

from __future__ import annotations

import asyncio
from typing import Any

from adapter.sockets.uvicorn_parts import FlowControl

_HEAD_END = b"\r\n\r\n"
_INTERIM = b"HTTP/1.1 1"


class JoiningTransport:
    """A transport that holds back the head of an answer until what follows it is written too.

    At the latest it goes out on the loop's next turn, so that nothing depends on a body coming.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        # Asked for with every answer: not through __getattr__.
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write `data`, or hold it back if it ends with the head of an answer."""
        head = self._head
        if head is not None:
            self._head = None
            self._transport.write(head + data)
        elif data.endswith(_HEAD_END) and not data.startswith(_INTERIM):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write a head that was held back, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._transport.write(head)


class Flow(FlowControl):
    """Flow control by which reading goes on only if nothing waits to be parsed: while it does, `held` is set."""

    held = False

    def resume_reading(self) -> None:
        """Read on, unless something waits to be parsed."""
        if self.read_paused and not self.held:
            super().resume_reading()
