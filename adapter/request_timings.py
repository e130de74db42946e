"""What one request has come to, for its metrics, its line in the log and its trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from converter.schema.settings import RegimeName


class RequestTrace(Protocol):
    """The trace of one request, if traces are on (adapter/telemetry/tracing.py)."""

    def queued(self, seconds: float, ago: float) -> None:
        """Record that the request waited so many seconds for a call, which was over so many seconds `ago`."""

    def call(self, joined: Sequence[RequestTrace], model: str, rows: int) -> AbstractContextManager[None]:
        """Record a call of a Triton model, for the length of a block.

        `joined` are the requests that it is made for, this one the first of them, and `rows` how many they have in all.
        """

    def finish(self, timings: RequestTimings, status: int, code: str) -> None:
        """End the request's trace with its answer, and with all that is known of it now."""


class Traces(Protocol):
    """Begin the traces of requests, and send them."""

    def begin(
        self, headers: Iterable[tuple[bytes, bytes]], endpoint: str, model: str | None, request_id: str
    ) -> RequestTrace:
        """Begin the trace of a request that has come.

        `headers` are the request's. `model` is None if there is none of the name that the client asked for.
        """

    def close(self) -> None:
        """Send what is left, within some seconds."""


class RowQuota(Protocol):
    """How many rows a client may send (adapter/limits/rate_limit.py)."""

    def take_rows(self, rows: int) -> None:
        """Take so many rows from the client's quota; raise QuotaExceeded if these are too many now."""


class RequestTimings:
    """Rows, and the seconds that each stage took; 0 for what did not begin.

    `queue` is the wait in the adapter for a call, `model` the time in calls of Triton. `tensors` says that the answer
    is wanted as arrays.
    """

    __slots__ = ("account", "model", "parse", "queue", "regime", "rows", "tensors", "trace", "write")

    def __init__(self) -> None:
        self.rows = 0
        self.tensors = False
        self.parse = self.queue = self.model = self.write = 0.0
        self.regime: RegimeName | None = None
        self.trace: RequestTrace | None = None
        self.account: RowQuota | None = None
