"""Large bodies read in a process beside the event loop, so that nobody waits for somebody else's 15 MiB.

A thread would not do: the decoder holds the interpreter's lock. The process starts with the first large body and ends
when none came for a while. What it gives back are tensors in memory that is mapped, not copied; texts are read from
there in slices, with the loop's other work in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np

from adapter import errors
from adapter.codec import helper_messages as messages
from adapter.codec.decode import Features
from adapter.codec.large_bodies import LargeBody
from adapter.codec.request_form import RequestForm
from converter.schema.manifest import ModelEntry, entry_json

IDLE_SECONDS = 10.0
_ERRORS = {
    kind.__name__: kind for kind in (errors.MalformedJson, errors.BadFeatures, errors.BadTensor, errors.SchemaMismatch)
}
_BROKEN = "The body could not be read now; try again shortly, or send fewer rows a request."


class _HelperEnded(Exception):
    """The helper process was killed, or could not start."""


class OffLoop:
    """Have bodies read by a helper process, one at a time; the others wait for their turn, within their deadlines.

    The helper ends when no body came for `idle_seconds`.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def process_id(self) -> int | None:
        """The helper's, or None while there is none."""
        return None if self._process is None else self._process.pid

    async def parse(
        self, entry: ModelEntry, body: LargeBody, timeout: float
    ) -> tuple[Features, errors.BadFeatures | None]:
        """Return the rows of a body as FeaturesParser reads it, and None or why a number does not fit its dtype.

        If one does not, the rows are as many, and have no values.

        Raises: MalformedJson if the body is not JSON; BadFeatures if it is, and the features are wrong;
        DeadlineExceeded if it was not read within `timeout` seconds; Overloaded if the helper cannot run.
        """
        try:
            features, unfit, _ = await asyncio.wait_for(self._parse(entry, body, "", ""), timeout)
            return features, unfit
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded(errors.DEADLINE) from None
        except (OSError, _HelperEnded) as error:
            raise errors.Overloaded(_BROKEN) from error

    async def parse_form(
        self, entry: ModelEntry, body: LargeBody, timeout: float, form: RequestForm
    ) -> tuple[Features, errors.BadFeatures | None, str]:
        """Do as `parse` for a body of another dialect; return what its reader notes of it too."""
        try:
            return await asyncio.wait_for(self._parse(entry, body, form.reader, form.note), timeout)
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded(errors.DEADLINE) from None
        except (OSError, _HelperEnded) as error:
            raise errors.Overloaded(_BROKEN) from error

    def close(self) -> None:
        """End the helper process; the next body starts another."""
        if self._idle is not None:
            self._idle.cancel()
        if self._socket is not None:
            self._socket.close()
        process, self._process, self._socket = self._process, None, None
        if process is not None:
            process.kill()
            # Until its memory is given back, which the loop need not wait for.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().run_in_executor(None, process.wait)

    async def _parse(
        self, entry: ModelEntry, body: LargeBody, reader: str, note: str
    ) -> tuple[Features, errors.BadFeatures | None, str]:
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                head, data = await self._ask(entry_json(entry).encode(), body, reader, note)
            except BaseException:
                # What it is at now, nobody waits for any more.
                self.close()
                raise
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self.close)
        if not head.error:
            return await _features(head, data), None, head.note
        error = _ERRORS[head.error](head.detail)
        if head.rows and isinstance(error, errors.BadFeatures):
            # As many rows as no number has a bearing on: who counts them comes first.
            return ([None] * head.rows,), error, head.note
        raise error

    async def _ask(
        self, entry: bytes, body: LargeBody, reader: str, note: str
    ) -> tuple[messages.DecodedHead, memoryview]:
        sock = self._socket or self._start()
        messages.write(body.memory, entry)
        messages.hand_over(sock, messages.DecodeRequest(len(body), len(entry), reader, note), body.memory)
        await _readable(sock)
        received = messages.receive(sock, messages.DecodeReply)
        if received is None:
            raise _HelperEnded
        reply, content = received
        with messages.map_bytes(content, reply.size) as data:
            return msgspec.json.decode(data[: reply.head], type=messages.DecodedHead), data[reply.head :]

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-m", "adapter.codec.decode_helper", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                )
            except OSError:
                ours.close()
                raise
        self._socket = ours
        return ours


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sock.fileno(), there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(sock.fileno())


async def _features(head: messages.DecodedHead, data: memoryview) -> Features:
    parts: list[Any] = []
    start = 0
    for part in head.parts:
        if part.dtype:
            numbers = data[start : start + part.sizes[0]]
            parts.append(np.frombuffer(numbers, dtype=part.dtype).reshape(part.shape))
        else:
            parts.append(await _texts(part, data[start:]))
        start += sum(part.sizes)
    return tuple(parts)


async def _texts(part: messages.PartOf, data: memoryview) -> list[Any]:
    rows: list[Any] = []
    start = 0
    for size in part.sizes:
        rows += msgspec.msgpack.decode(data[start : start + size])
        start += size
        await asyncio.sleep(0)
    return rows
