"""Inference over kept-alive HTTP/1.1 connections with Triton's binary tensor extension.

The protocol: a JSON header whose length stands in `Inference-Header-Content-Length`, then the raw tensors in its
order (triton-inference-server/server, docs/protocol/extension_binary_data.md). One call at a time on a connection.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import msgspec

from adapter import errors
from adapter.backend.connection import Connection, Response
from adapter.backend.connection_pool import ConnectionPool
from adapter.backend.error_mapping import translate
from adapter.backend.index import collect_states, decode_index
from adapter.backend.infer_request import InferRequest
from adapter.backend.overdue_calls import OverdueCalls
from adapter.backend.protocol import Arrays
from adapter.backend.raw_tensors import from_raw, promised
from adapter.deadline_timer import DeadlineTimer
from converter.schema.manifest import ModelEntry

# Until a connection that was refused is tried again.
_RECONNECT_SECONDS = 0.02
# A call that is later than this is given up for good.
_LATE_SECONDS = 60.0
# How many calls may be made a second time, as a part of all calls: trouble is not to be doubled by trying again.
_REPEATED_PART = 0.1
# Saved up at most, for when many connections end at a time.
_MOST_REPEATED = 10.0


class _Parameters(msgspec.Struct):
    binary_data_size: int


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class _Failure(msgspec.Struct):
    error: str


# Where the text says nothing that we know, the status does.
_CODE_OF = {400: grpc.StatusCode.INVALID_ARGUMENT, 404: grpc.StatusCode.NOT_FOUND, 503: grpc.StatusCode.UNAVAILABLE}
_ASK_INDEX = b"POST /v2/repository/index HTTP/1.1\r\nHost: %b\r\n%bContent-Length: 0\r\n\r\n"
_DECODE_ANSWER = msgspec.json.Decoder(_Answer).decode
_DECODE_FAILURE = msgspec.json.Decoder(_Failure).decode


class RetryBudget:
    """Allow one repeated call for every ten calls; one more at first, so that the first call may be repeated too."""

    def __init__(self) -> None:
        self._left = 1.0

    def note(self) -> None:
        """Count a call that is made for the first time."""
        if self._left < _MOST_REPEATED:
            self._left += _REPEATED_PART

    def take(self) -> bool:
        """Return whether one more call may be repeated, which then counts as done."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class HttpInference:
    """Call Triton's models over as many connections as there are calls at a time.

    `address` is host:port, or unix:path. `call_headers` gives whole lines for the head of the call that is being made,
    if there is something to add.
    """

    def __init__(self, address: str, call_headers: Callable[[], bytes] | None = None) -> None:
        self._host, _, self._place = address.rpartition(":")
        self._unix = self._host == "unix"
        self._address = b"localhost" if self._unix else address.encode()
        self._call_headers = call_headers
        self._idle = ConnectionPool()
        self._deadline_timer = DeadlineTimer()
        self._retry_budget = RetryBudget()
        self._late = OverdueCalls()
        self._in_flight: defaultdict[str, set[asyncio.Future[Response]]] = defaultdict(set)
        self._tell_of_death: Callable[[str, float], None] = lambda model, began: None
        self._forms: dict[str, InferRequest] = {}
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None

    async def infer(
        self,
        model: str,
        entry: ModelEntry,
        arrays: Arrays,
        deadline: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        """Make one call, as InferenceBackend has it."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        left = deadline - loop.time()
        if left <= 0:
            raise errors.DeadlineExceeded(errors.DEADLINE)
        form = self._forms.get(model)
        if form is None or form.entry is not entry:
            form = self._forms[model] = InferRequest(model, self._address, entry)
        more_head = b"" if self._call_headers is None else self._call_headers()
        request = form.fill(arrays, left if queued else None, more_head, request_id)
        self._retry_budget.note()
        if not queued and self._late.full(model):
            await self._wait_for_late(model, deadline)
        connection = self._idle.acquire()
        reused = connection is not None
        if connection is None:
            connection = await self._connect(deadline)
        try:
            response = await self._exchange(model, connection, request, deadline, loop)
        except errors.UpstreamDown:
            # Triton ended the idle connection just as we used it; an answer that had begun would have told otherwise.
            if not reused or connection.heard or not self._retry_budget.take():
                raise
            connection = await self._connect(deadline)
            response = await self._exchange(model, connection, request, deadline, loop)
        self._idle.release(connection)
        if response.status != 200:
            raise _error(response)
        return _read(response, form)

    async def states(self, timeout: float, more_head: bytes = b"") -> Mapping[str, str]:
        """Return the models' states, as InferenceBackend has it; `more_head` is whole lines for the request's head.

        Raises: UpstreamDown or another AdapterError if Triton's HTTP does not tell them.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        connection = self._idle.acquire() or await self._connect_once(deadline)
        answer = connection.send(_ASK_INDEX % (self._address, more_head), loop)
        self._deadline_timer.add(answer, deadline)
        try:
            response = await answer
        except BaseException:
            # What comes later on this connection belongs to nobody.
            connection.close()
            raise
        finally:
            self._deadline_timer.discard(answer)
        self._idle.release(connection)
        if response.status != 200:
            raise _error(response)
        try:
            return collect_states(decode_index(response.body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.UpstreamDown(errors.UNREACHABLE, str(error)) from error

    def forget(self, model: str) -> None:
        """Drop the overdue calls of an unloaded model."""
        self._late.forget(model)
        if not self._in_flight[model]:
            del self._in_flight[model]

    def abandon(self, model: str) -> None:
        """Fail the calls of a model whose processes were ended, with ModelProcessDead.

        Triton may never answer what it was about to give to a process that it took for dead.
        """
        self._late.forget(model)
        for answer in self._in_flight.pop(model, ()):
            if not answer.done():
                dead = errors.ModelProcessDead(errors.UNAVAILABLE, "the process that had this call was ended")
                answer.set_exception(dead)

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        """Have `watcher` called with each model that an overdue answer shows to be dead, and with its call's start."""
        self._tell_of_death = watcher

    async def _exchange(
        self, model: str, connection: Connection, request: bytes, deadline: float, loop: asyncio.AbstractEventLoop
    ) -> Response:
        """Send a request and return its answer, on one connection.

        If the deadline passes, the connection is kept for the late answer; after any other error it is closed.
        """
        began = loop.time()
        answer = connection.send(request, loop)
        self._deadline_timer.add(answer, deadline)
        in_flight = self._in_flight[model]
        in_flight.add(answer)
        try:
            return await answer
        except errors.DeadlineExceeded:
            self._leave(model, connection, began)
            raise
        except BaseException:
            # What comes later on this connection belongs to nobody.
            connection.close()
            raise
        finally:
            self._deadline_timer.discard(answer)
            in_flight.discard(answer)

    def _leave(self, model: str, connection: Connection, began: float) -> None:
        """Let a call that is too late go on in Triton; use its connection again once its answer is read."""
        if connection.broken or self._idle.closed:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(_LATE_SECONDS, connection.close)

        def end(response: Response | None) -> None:
            timer.cancel()
            error = None if response is None or response.status == 200 else _error(response)
            if isinstance(error, errors.ModelProcessDead):
                self._tell_of_death(model, began)
            self._late.ended(model, connection.close)
            self._idle.release(connection)

        connection.on_end = end
        self._late.add(model, connection.close)

    async def _wait_for_late(self, model: str, deadline: float) -> None:
        """Wait until fewer calls of a model are overdue."""
        while self._late.full(model):
            change = self._late.change()
            self._deadline_timer.add(change, deadline)
            try:
                await change
            finally:
                self._deadline_timer.discard(change)

    def close(self) -> None:
        """Close what is idle or waits for a late answer now, and the rest as its calls end."""
        self._late.forget()
        self._idle.close()

    async def _connect(self, deadline: float) -> Connection:
        """Return a new connection; if it is refused, try once more, since nothing was sent on it."""
        try:
            return await self._connect_once(deadline)
        except errors.UpstreamDown:
            if not self._retry_budget.take():
                raise
        await asyncio.sleep(_RECONNECT_SECONDS)
        return await self._connect_once(deadline)

    async def _connect_once(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            connecting = (
                loop.create_unix_connection(Connection, self._place)
                if self._unix
                else loop.create_connection(Connection, self._host, int(self._place))
            )
            _, connection = await asyncio.wait_for(connecting, max(0.0, deadline - loop.time()))
        except asyncio.TimeoutError as error:
            raise errors.DeadlineExceeded(errors.DEADLINE) from error
        except OSError as error:
            raise errors.UpstreamDown(errors.UNREACHABLE, str(error)) from error
        return connection


def _error(response: Response) -> errors.AdapterError:
    try:
        text = _DECODE_FAILURE(response.body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = f"status {response.status}"
    return translate(_CODE_OF.get(response.status), text)


def _read(response: Response, form: InferRequest) -> Arrays:
    arrays: dict[str, Any] = {}
    position = response.json_length
    try:
        for item in _DECODE_ANSWER(response.body[:position]).outputs:
            raw = response.body[position : position + item.parameters.binary_data_size]
            if len(raw) != item.parameters.binary_data_size:
                raise ValueError(f"output {item.name} is cut short")
            position += len(raw)
            arrays[item.name] = from_raw(raw, promised(form.outputs[item.name], item.datatype), tuple(item.shape))
        return form.unpack(arrays) if form.packed else arrays
    except (ValueError, KeyError) as error:
        raise errors.BadModelOutput("The model's answer is not what its config promises.", str(error)) from error
