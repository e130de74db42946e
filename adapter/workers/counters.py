"""What is counted of each request, in cells of the shared table: cheaper than a metrics library on the hot path.

A model's row: for each endpoint its answers by code, its latencies and its batch sizes; then the model's gauges.
adapter/telemetry/metrics.py reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, get_args

from adapter.error_codes import CODES
from adapter.workers.shared_table import SharedTable
from converter.schema.model import ENDPOINTS, Endpoint

LATENCY_MS = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 200, 500, 1000, 2000, 5000, 15000)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
# What is asked in another protocol is counted under its name, beside the endpoints.
Dialect = Literal["v2", "v2_grpc", "v1", "mlflow"]
EndpointName = Endpoint | Dialect
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
ENDPOINT_NAMES: tuple[EndpointName, ...] = (*ENDPOINTS, *DIALECTS)
# Which of a model's two Triton models a call goes to.
Way = Literal["direct", "front"]
WAYS: tuple[Way, ...] = ("direct", "front")

# Cells of one endpoint. A histogram is a cell for each bucket, the last one without a bound, then the sum.
_CODE_CELLS = {code: i for i, (_, code) in enumerate(CODES)}
_OK = _CODE_CELLS["ok"]
LATENCY_AT = len(CODES)
LATENCY_SUM = LATENCY_AT + len(LATENCY_MS) + 1
ROWS_AT = LATENCY_SUM + 1
ROWS_SUM = ROWS_AT + len(ROWS) + 1
QUEUE_SUM = ROWS_SUM + 1
MODEL_SUM = QUEUE_SUM + 1
_ENDPOINT_WIDTH = MODEL_SUM + 1
_START = {endpoint: i * _ENDPOINT_WIDTH for i, endpoint in enumerate(ENDPOINT_NAMES)}

# A model's gauges, and what is counted of it whatever the endpoint:
# - DEAD_ and TAINTED_INCARNATION, the highest of which a death is known, or that a process was called dead that was
#   there (adapter/lifecycle/served_model.py);
# - ANSWERED and FRONT_ANSWERED, calls of the model and of the front, by the model's own error too;
# - ADOPTED, the generation of models that a worker has left all others for (adapter/lifecycle/registry.py);
# - LINES_LOST, lines of logs that could not be written, by the adapter as a whole;
# - MOVED_OUT, times that the model was moved out of its pack (adapter/lifecycle/packs/);
# - WANTED, requests that wait for the model to be woken (adapter/lifecycle/sleep/);
# - PID, the worker's process, in the row of the adapter as a whole;
# - RECOVERIES and the cells after it, times that the model was loaded again, by the reason.
(
    IN_FLIGHT, QUEUED, QUEUED_ROWS, REGIME, REGIME_CHANGES, CALLS, CALL_ROWS, ANSWERED, FRONT_ANSWERED,
    DEAD_INCARNATION, TAINTED_INCARNATION, STUCK, MEMORY, ADOPTED, LINES_LOST, MOVED_OUT,
    WANTED, PID, RECOVERIES,
) = range(len(ENDPOINT_NAMES) * _ENDPOINT_WIDTH, len(ENDPOINT_NAMES) * _ENDPOINT_WIDTH + 19)  # fmt: skip
RECOVERY_REASONS = ("died", "hung", "memory")
# How long the calls of `m_direct` and of the front took: a histogram each.
_CALL_MS_AT = RECOVERIES + len(RECOVERY_REASONS)
CALL_MS_SUM = len(LATENCY_MS) + 1
_CALL_MS_WIDTH = CALL_MS_SUM + 1
_CALL_MS_START = {way: _CALL_MS_AT + i * _CALL_MS_WIDTH for i, way in enumerate(WAYS)}
# What others keep in the row begins here.
WIDTH = _CALL_MS_AT + len(WAYS) * _CALL_MS_WIDTH
# What a worker that begins must not inherit from the one before it.
_OF_THE_PROCESS = (IN_FLIGHT, QUEUED, QUEUED_ROWS, REGIME, MEMORY, ADOPTED, WANTED, PID)
# Models that a reload may add while the adapter runs.
_SPARE = 256

# The row of the adapter as a whole; no model's name is empty.
ALL = ""


def make_table(models: Sequence[str], workers: int = 1, more: int = 0) -> SharedTable:
    """Return a table with a row for each model, and `more` cells in it than are counted here."""
    return SharedTable([ALL, *models], WIDTH + more, workers, _SPARE)


def begin(table: SharedTable, models: Sequence[str], worker: int, whole: bool = True) -> None:
    """Clear the gauges that a worker's predecessor left of these models; of the adapter as a whole too if `whole`."""
    for name in (ALL, *models) if whole else models:
        row = table.row(name, worker)
        for cell in _OF_THE_PROCESS:
            row[cell] = 0.0


class Cell:
    """One number of this worker, and its total over all of them."""

    def __init__(self, table: SharedTable, name: str, worker: int, cell: int) -> None:
        self._mine = table.row(name, worker)
        self._cell = cell
        self._all = table.rows(name)

    def add(self, amount: float) -> None:
        """Add to this worker's number."""
        self._mine[self._cell] += amount

    def set(self, value: float) -> None:
        """Set this worker's number."""
        self._mine[self._cell] = value

    @property
    def mine(self) -> float:
        """The number of this worker alone."""
        return float(self._mine[self._cell])

    def total(self) -> float:
        """Return the sum over all workers."""
        if len(self._all) == 1:
            return float(self._mine[self._cell])
        return float(sum([row[self._cell] for row in self._all]))

    def highest(self) -> float:
        """Return the highest of all workers' numbers."""
        if len(self._all) == 1:
            return float(self._mine[self._cell])
        return float(max([row[self._cell] for row in self._all]))


class EndpointCounters:
    """Count the answers of one endpoint of one model, in this worker."""

    def __init__(self, table: SharedTable, name: str, worker: int, endpoint: EndpointName) -> None:
        start = _START[endpoint]
        self._cells = table.row(name, worker)[start : start + _ENDPOINT_WIDTH]

    def answered(self, seconds: float, rows: int, queue_seconds: float = 0, model_seconds: float = 0) -> None:
        """Count a 200, with the seconds that the request waited here, and those that it was in calls of Triton."""
        cells = self._cells
        milliseconds = seconds * 1e3
        cells[_OK] += 1
        cells[LATENCY_AT + bisect_left(LATENCY_MS, milliseconds)] += 1
        cells[LATENCY_SUM] += milliseconds
        cells[ROWS_AT + bisect_left(ROWS, rows)] += 1
        cells[ROWS_SUM] += rows
        cells[QUEUE_SUM] += queue_seconds
        cells[MODEL_SUM] += model_seconds

    def failed(self, code: str) -> None:
        """Count any other answer; `code` is one of adapter.error_codes."""
        self._cells[_CODE_CELLS[code]] += 1


class CallHistogram:
    """Count the answered calls of one of a model's Triton models by their time, in this worker."""

    def __init__(self, table: SharedTable, name: str, worker: int, way: Way) -> None:
        start = _CALL_MS_START[way]
        self._cells = table.row(name, worker)[start : start + _CALL_MS_WIDTH]

    def took(self, seconds: float) -> None:
        """Count a call that took so many seconds."""
        milliseconds = seconds * 1e3
        self._cells[bisect_left(LATENCY_MS, milliseconds)] += 1
        self._cells[CALL_MS_SUM] += milliseconds


class WorkerCounters:
    """The counters of one worker, of whichever model."""

    def __init__(self, table: SharedTable, worker: int) -> None:
        self._table = table
        self._worker = worker

    def cell(self, name: str, cell: int) -> Cell:
        """Return one of a model's numbers, or one of the adapter's (`ALL`)."""
        return Cell(self._table, name, self._worker, cell)

    def endpoint(self, name: str, endpoint: EndpointName) -> EndpointCounters:
        """Return what counts the answers of one endpoint of a model."""
        return EndpointCounters(self._table, name, self._worker, endpoint)

    def calls(self, name: str, way: Way) -> CallHistogram:
        """Return what counts the calls of one of a model's Triton models."""
        return CallHistogram(self._table, name, self._worker, way)


def totals(table: SharedTable, name: str, endpoint: EndpointName) -> list[float]:
    """Return the cells of an endpoint, added up over the workers."""
    return _added_up(table, name, _START[endpoint], _ENDPOINT_WIDTH)


def was_asked(table: SharedTable, name: str, endpoint: EndpointName) -> bool:
    """Return whether any request of an endpoint was counted: less work than `totals`."""
    start = _START[endpoint]
    return any(any(row[start : start + LATENCY_AT]) for row in table.rows(name))


def call_times(table: SharedTable, name: str, way: Way) -> list[float]:
    """Return the histogram of a model's calls, added up over the workers."""
    return _added_up(table, name, _CALL_MS_START[way], _CALL_MS_WIDTH)


def _added_up(table: SharedTable, name: str, start: int, width: int) -> list[float]:
    rows = [row[start : start + width] for row in table.rows(name)]
    if len(rows) == 1:
        return list(rows[0])
    return [sum(cells) for cells in zip(*rows, strict=True)]


def total(table: SharedTable, name: str, cell: int) -> float:
    """Return a cell, added up over the workers."""
    return float(sum(row[cell] for row in table.rows(name)))


def highest(table: SharedTable, name: str, cell: int) -> float:
    """Return the highest that a cell is in any worker."""
    return float(max(row[cell] for row in table.rows(name)))
