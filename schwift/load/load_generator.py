"""The engine: clients that wait for their answers (closed loop), or requests that leave when due (open loop)."""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schwift.load.load_connection import LoadConnection
from schwift.load.load_record import CLOSED, NO_CONNECTION, NO_HTTP, TIMEOUT, UNSENT, LoadRecord
from schwift.load.precise_timer import PreciseTimer

# A server that is away must not turn connecting into a busy loop.
_RECONNECT_SECONDS = 0.05
_SWEEP_SECONDS = 0.1
# After so many, answers that have come are read before more is sent.
_MOST_SENT_AT_ONCE = 64
# An open loop opens these before it starts, and others when it lacks them.
_FIRST_CONNECTIONS = 16


@dataclass(frozen=True)
class LoadTarget:
    """Where to, and whole requests, which are sent in turn."""

    host: str
    port: int
    requests: tuple[bytes, ...]
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True)
class LoadStep:
    """How one step loads the server. Times are in seconds.

    With a `rate`, requests a second, it is an open loop: each leaves when it is due, evenly or at random (`poisson`),
    and waits here if all `connections` are in use. Without, each connection is a client that waits for its answer.
    """

    connections: int
    rate: float | None = None
    poisson: bool = False
    duration: float = 10.0
    warmup: float = 1.0
    timeout: float = 30.0

    @property
    def label(self) -> str:
        """What tells it from other steps."""
        if self.rate is not None:
            return f"{self.rate:g} requests/s"
        return f"{self.connections} connection{'s' if self.connections > 1 else ''}"


class LoadGenerator:
    """Run one step. A latency counts from when a request was due, so a server that stalls cannot hide who waited."""

    def __init__(self, target: LoadTarget, step: LoadStep, record: LoadRecord) -> None:
        self.record = record
        self.began = 0.0
        # What this process took of a core within the window.
        self.cpu_share = 0.0
        self._target = target
        self._step = step
        self._loop = asyncio.get_running_loop()
        self._idle: deque[LoadConnection] = deque()
        self._all: set[LoadConnection] = set()
        self._backlog: deque[float] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._turn = self._missing = 0
        self._until = 0.0
        self._times: Iterator[float] = iter(())
        self._next = 0.0
        self._timer: PreciseTimer | None = None
        self._stopped = asyncio.Event()

    @property
    def elapsed(self) -> float:
        """The seconds since the first request was due; 0 before."""
        return time.monotonic() - self.began if self.began else 0.0

    def stop(self) -> None:
        """End it at once, with what was measured so far."""
        self._until = min(self._until, time.monotonic())
        self._stopped.set()

    async def run(self, progress: Callable[[LoadGenerator], None] | None = None, every: float = 1.0) -> None:
        """Load the server for the step's warm-up and duration; `progress` is called `every` so many seconds."""
        # Nothing here makes cycles, and a pause would be taken for one of the server.
        was_collecting = gc.isenabled()
        gc.disable()
        shown = self._loop.create_task(self._show(progress, every)) if progress else None
        try:
            await self._open_first()
            if not self._stopped.is_set():
                self._begin()
                await self._load()
                await self._drain()
        finally:
            if shown is not None:
                shown.cancel()
            self._close()
            if was_collecting:
                gc.enable()

    async def _open_first(self) -> None:
        """Open connections, of which no request waits for the handshake; a failure shows once requests are due."""
        count = self._step.connections
        if self._step.rate is not None:
            count = min(count, _FIRST_CONNECTIONS)
        opening = self._loop.create_task(self._connect_all(count))
        stopped = self._loop.create_task(self._stopped.wait())
        try:
            await asyncio.wait((opening, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            stopped.cancel()
        self._missing = count - len(self._all)

    def _begin(self) -> None:
        self.began = time.monotonic()
        start = self.began + self._step.warmup
        self._until = start + self._step.duration
        self.record.open_window(start, self._until)
        if self._step.rate is None:
            for connection in list(self._idle):
                self._next_closed(connection)
            for _ in range(self._missing):
                self._open_one()
        else:
            self._times = due_times(self.began, self._step.rate, self._step.poisson)
            self._next = next(self._times)
            self._timer = PreciseTimer(self._send_due)
            self._timer.set(self._next)

    async def _load(self) -> None:
        cpu: float | None = None
        since = 0.0
        while not self._stopped.is_set() and (now := time.monotonic()) < self._until:
            if cpu is None and now >= self.record.start:
                cpu, since = time.process_time(), now
            self.record.end_seconds(now)
            self._sweep(now)
            ends = self._until if cpu is not None else self.record.start
            await self._pause(max(0.0, min(_SWEEP_SECONDS, ends - now)))
        now = time.monotonic()
        while self._timer is not None and self._next < self._until:
            # It was due, and this program was too busy to send it.
            self._send_or_wait(self._next)
            self._next = next(self._times)
        if cpu is not None and now > since:
            self.cpu_share = (time.process_time() - cpu) / (now - since)
        self.record.close_window(now)
        # Each connection that is opening serves one of the first in line; the others would need the next round.
        while len(self._backlog) > len(self._opening):
            self.record.note(UNSENT, self._backlog.pop(), now)

    async def _drain(self) -> None:
        """Wait for the answers to what was sent, or is once its connection is open, each at most for its timeout."""
        while not self._stopped.is_set() and self._is_awaited():
            await self._pause(0.005)
            self._sweep(time.monotonic())
        while self._backlog:
            self.record.note(UNSENT, self._backlog.popleft(), time.monotonic())

    def _is_awaited(self) -> bool:
        return bool(self._backlog and self._opening) or any(connection.due for connection in self._all)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except asyncio.TimeoutError:
            return

    async def _show(self, progress: Callable[[LoadGenerator], None], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            if self.began:
                progress(self)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.close()
        for task in self._opening:
            task.cancel()
        for connection in self._all:
            self.record.bytes_received += connection.received
            connection.abort()
        self._all.clear()

    # Sending.

    def _send(self, connection: LoadConnection, due: float) -> None:
        number = self._turn
        request = self._target.requests[number]
        self._turn = (number + 1) % len(self._target.requests)
        self.record.bytes_sent += len(request)
        connection.send(request, number, due)

    def _next_closed(self, connection: LoadConnection) -> None:
        """Send a client's next request, if there is time for one."""
        now = time.monotonic()
        if now < self._until:
            self._idle_discard(connection)
            self._send(connection, now)
        else:
            self._idle.append(connection)

    def _idle_discard(self, connection: LoadConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _send_due(self) -> None:
        """Send what is due by now, and set the timer for what is due next."""
        assert self._timer is not None
        now = time.monotonic()
        for _ in range(_MOST_SENT_AT_ONCE):
            if self._next > now or self._next >= self._until:
                break
            self._send_or_wait(self._next)
            self._next = next(self._times)
        if self._next < self._until:
            self._timer.set(self._next)

    def _send_or_wait(self, due: float) -> None:
        if self._idle and not self._backlog:
            self._send_late(self._idle.popleft(), due)
            return
        self._backlog.append(due)
        if len(self._all) + len(self._opening) < self._step.connections and len(self._opening) < len(self._backlog):
            self._open_one()

    def _send_late(self, connection: LoadConnection, due: float) -> None:
        self._send(connection, due)
        if due >= self.record.start:
            self.record.lags.record(time.monotonic() - due)

    def _free(self, connection: LoadConnection) -> None:
        """Use a connection that is free now."""
        if self._step.rate is None:
            self._next_closed(connection)
        elif self._backlog:
            self._send_late(connection, self._backlog.popleft())
        else:
            self._idle.append(connection)

    def _sweep(self, now: float) -> None:
        """Give up what waits for too long."""
        oldest = now - self._step.timeout
        for connection in [item for item in self._all if item.due and item.due < oldest]:
            self.record.note(TIMEOUT, connection.due, now)
            connection.due = 0.0
            self._forget(connection)
            connection.abort()
            self._replace()
        while self._backlog and self._backlog[0] < oldest:
            self.record.note(UNSENT, self._backlog.popleft(), now)

    # Connections.

    def opened(self, connection: LoadConnection) -> None:
        """Use a new connection."""
        self._all.add(connection)
        if self.began:
            self._free(connection)
        else:
            self._idle.append(connection)

    def answered(self, connection: LoadConnection, status: int, body: bytes, stays: bool) -> None:
        """Note an answer, and use the connection for the next request."""
        now = time.monotonic()
        due, connection.due = connection.due, 0.0
        self.record.note_answer(connection.number, status, body, due, now)
        if stays:
            self._free(connection)
        else:
            self._forget(connection)
            connection.abort()
            self._replace()

    def lost(self, connection: LoadConnection, is_http: bool) -> None:
        """Note what a connection that broke was asked, and open another one."""
        if connection not in self._all:
            return
        self._forget(connection)
        if connection.due:
            self.record.note(CLOSED if is_http else NO_HTTP, connection.due, time.monotonic())
            connection.due = 0.0
        self._replace()

    def _forget(self, connection: LoadConnection) -> None:
        self._all.discard(connection)
        self._idle_discard(connection)
        self.record.bytes_received += connection.received

    def _replace(self) -> None:
        if time.monotonic() < self._until and (self._step.rate is None or self._backlog):
            self._open_one()

    def _open_one(self) -> None:
        task = self._loop.create_task(self._connect_or_note())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect_all(self, count: int) -> None:
        await asyncio.gather(*(self._connect() for _ in range(count)), return_exceptions=True)

    async def _connect(self) -> None:
        target = self._target
        name = target.host if target.tls is not None else None
        await asyncio.wait_for(
            self._loop.create_connection(
                lambda: LoadConnection(self), target.host, target.port, ssl=target.tls, server_hostname=name
            ),
            self._step.timeout,
        )

    async def _connect_or_note(self) -> None:
        """Open a connection; a failure is the outcome of the request that would have used it."""
        asked = time.monotonic()
        # Once in any case: what was due last is sent after the window.
        while True:
            try:
                await self._connect()
                return
            except (OSError, asyncio.TimeoutError):
                now = time.monotonic()
                if self._step.rate is None:
                    self.record.note(NO_CONNECTION, asked, now)
                elif self._backlog:
                    self.record.note(NO_CONNECTION, self._backlog.popleft(), now)
                else:
                    return
                await asyncio.sleep(_RECONNECT_SECONDS)
                asked = time.monotonic()
                if asked >= self._until:
                    return


def due_times(began: float, rate: float, poisson: bool, seed: int = 0) -> Iterator[float]:
    """Give the times at which requests are due, without end: evenly, or as independent users come."""
    made = random.Random(seed)
    number, due = 0, began
    while True:
        yield due
        number += 1
        due = due + made.expovariate(rate) if poisson else began + number / rate
