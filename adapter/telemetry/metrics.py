"""Prometheus: the names that users' dashboards know, and ours with the prefix `schwift_`.

Made when somebody asks, from the cells of the shared table, so that a request costs a few additions; and in slices,
between which requests are answered. A histogram is there from the first request on: of models that nobody asks, it
would be most of the text.
"""

from __future__ import annotations

import asyncio

from adapter import VERSION
from adapter.error_codes import CODES
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.breaker import STATES, Breaker
from adapter.limits.breakers import Breakers
from adapter.telemetry.metric_text import NAME, Family, count_up, put_name, write_family
from adapter.telemetry.own_processes import PROCESS_FAMILIES, measure_processes
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import PACK_SUFFIX
from converter.schema.settings import REGIMES, RegimeName

# So many models take two milliseconds.
_MODELS_A_SLICE = 16
_SERVER_FAULT = 500
_LATENCY_SECONDS = tuple(bound / 1e3 for bound in counters.LATENCY_MS)

_REQUESTS = Family("inference_requests", "counter", "Requests, refused and failed ones included.")
_ERRORS = Family("inference_errors", "counter", "Requests not answered with 200.")
_LATENCY = Family(
    "inference_latency_ms",
    "histogram",
    "Time from the whole body to the answer, in milliseconds, of requests answered with 200.",
)
_DURATION = Family("schwift_request_duration_seconds", "histogram", "The same in seconds as inference_latency_ms.")
_ROWS = Family("inference_batch_size", "histogram", "Rows of a request.")
_RESPONSES = Family("schwift_responses", "counter", "Requests by status and code.")
_QUEUE = Family("schwift_queue_seconds", "counter", "Time that answered requests waited in the adapter for a call.")
_MODEL = Family("schwift_model_seconds", "counter", "Time that answered requests were in calls of Triton.")
_CALL_SECONDS = Family(
    "schwift_call_seconds",
    "histogram",
    "Time of an answered call of Triton: of the model itself (direct), or through its front.",
)
_BUILD = Family("schwift_build_info", "gauge", "1, with the version as a label.")
_DEADLINE = Family("schwift_deadline_seconds", "gauge", "The deadline of a request.")
_LIMIT = Family("schwift_in_flight_limit", "gauge", "Most requests in flight.")
_IN_FLIGHT = Family("schwift_in_flight", "gauge", "Requests in flight, all models together.")
_LINES_LOST = Family("schwift_log_lines_lost", "counter", "Log lines that could not be written.")
_TRITON_UP = Family("schwift_triton_up", "gauge", "1 while Triton answers.")
_READY = Family("schwift_model_ready", "gauge", "1 while a model is served, asleep ones too.")
_QUEUE_LIMIT = Family("schwift_queue_limit", "gauge", "Most requests that wait in the adapter for a call.")
_MEMORY = Family(
    "schwift_model_memory_bytes",
    "gauge",
    "What the processes of a model hold, shared pages by their part, where Triton runs on this machine; of a packed "
    "one, what its pack's process grew by for it.",
)
_PACK_MEMORY = Family(
    "schwift_pack_memory_bytes",
    "gauge",
    "What the processes of a pack hold besides its models; where Triton runs on this machine.",
)
_MOVED_OUT = Family(
    "schwift_pack_moved_out", "counter", "Times that a packed model was moved out into a process of its own."
)
_STUCK = Family(
    "schwift_stuck_processes", "counter", "Processes of a model or a pack that hung and could not be ended from here."
)
# What is one cell of each model, added up over the workers.
_CELLS = {
    Family("schwift_queued", "gauge", "Requests that wait in the adapter for a call."): counters.QUEUED,
    Family("schwift_regime_changes", "counter", "Changes of regime."): counters.REGIME_CHANGES,
    Family("schwift_calls", "counter", "Answered calls of the model itself, joined ones as one."): counters.CALLS,
    Family("schwift_call_rows", "counter", "Rows in these calls."): counters.CALL_ROWS,
    _STUCK: counters.STUCK,
}
_REGIME = Family("schwift_regime", "gauge", "1 for the regime that a model is in.")
_RECOVERIES = Family(
    "schwift_model_recoveries",
    "counter",
    "Times that a model was loaded again because it died, hung, or held more memory than it may; of a pack's process, "
    "under the name of its Triton model.",
)
_BREAKER = Family("schwift_breaker_state", "gauge", "1 for the state that a circuit breaker is in.")
_OPENED = Family("schwift_breaker_opened", "counter", "How often a circuit breaker opened.")
FAMILIES = (
    _REQUESTS, _ERRORS, _LATENCY, _DURATION, _ROWS, _RESPONSES, _QUEUE, _MODEL, _CALL_SECONDS, _BUILD, _DEADLINE,
    _LIMIT, _IN_FLIGHT, _LINES_LOST, _TRITON_UP, _READY, _QUEUE_LIMIT, _MEMORY, _PACK_MEMORY, _MOVED_OUT, *_CELLS,
    _REGIME, _RECOVERIES, _BREAKER, _OPENED, *PROCESS_FAMILIES,
)  # fmt: skip

_OF_MODEL = {"model_name": NAME}
_OF_ENDPOINT = {name: {**_OF_MODEL, "endpoint": name} for name in counters.ENDPOINT_NAMES}
_LINES = {
    name: {
        _LATENCY: _LATENCY.lines(labels, counters.LATENCY_MS),
        _DURATION: _DURATION.lines(labels, _LATENCY_SECONDS),
        _ROWS: _ROWS.lines(labels, counters.ROWS),
        **{family: family.line(labels) for family in (_REQUESTS, _ERRORS, _QUEUE, _MODEL)},
    }
    for name, labels in _OF_ENDPOINT.items()
}
# In the order of the codes' cells.
_RESPONSE_LINES = {
    name: [
        (status >= _SERVER_FAULT, _RESPONSES.line({**labels, "status": str(status), "code": code}))
        for status, code in CODES
    ]
    for name, labels in _OF_ENDPOINT.items()
}
_CALL_LINES = {way: _CALL_SECONDS.lines({**_OF_MODEL, "way": way}, _LATENCY_SECONDS) for way in counters.WAYS}
_STATE_LINES = {family: family.line(_OF_MODEL) for family in (_READY, _QUEUE_LIMIT, _MEMORY, _MOVED_OUT, *_CELLS)}
_OPENED_LINE = _OPENED.line(_OF_MODEL)
_REGIME_LINES = "".join(_REGIME.line({**_OF_MODEL, "regime": word}) for word in REGIMES)
_RECOVERY_LINES = "".join(_RECOVERIES.line({**_OF_MODEL, "reason": reason}) for reason in counters.RECOVERY_REASONS)
_BREAKER_LINES = "".join(_BREAKER.line({**_OF_MODEL, "state": word}) for word in STATES)

# Samples by their metric.
_Samples = dict[Family, list[str]]


class Metrics:
    """Write the metrics of all workers from the shared table, when they are asked for.

    Requests for a model that does not exist are counted under no label of the client's choosing. `deadline` in seconds
    and `in_flight` are what is allowed of all requests, shown beside what there is.
    """

    def __init__(
        self, registry: Registry, table: SharedTable, breakers: Breakers, deadline: float, in_flight: int
    ) -> None:
        self._models = registry
        self._table = table
        self._breakers = breakers
        self._deadline = deadline
        self._most_in_flight = in_flight

    async def render(self, open_metrics: bool = False) -> bytes:
        """Return all metrics as Prometheus text, or in OpenMetrics without its end."""
        samples: _Samples = {family: [] for family in FAMILIES}
        self._add_server(samples)
        self._add_breaker(samples, counters.ALL, self._breakers.triton)
        self._add_packs(samples)
        for number, (name, model) in enumerate(list(self._models.models.items()), 1):
            self._add_model(samples, name, model)
            if number % _MODELS_A_SLICE == 0:
                await asyncio.sleep(0)
        # Beside the loop, since thousands of connections are counted one by one.
        for family, figure in (await asyncio.to_thread(measure_processes, self._workers())).items():
            samples[family].append(family.line({}) % figure)
        written = []
        for family, lines in samples.items():
            written.append(write_family(family, lines, open_metrics))
            await asyncio.sleep(0)
        return b"".join(written)

    def regime_of(self, name: str) -> RegimeName:
        """Return a model's regime; if those of several workers differ, the one with the most load."""
        return REGIMES[int(counters.highest(self._table, name, counters.REGIME))]

    def _workers(self) -> list[int]:
        """Return the numbers of all workers' processes, if there are several."""
        rows = self._table.rows(counters.ALL)
        return [pid for row in rows if (pid := int(row[counters.PID]))] if len(rows) > 1 else []

    def _add_server(self, samples: _Samples) -> None:
        total = counters.total
        values = {
            _DEADLINE: self._deadline,
            _LIMIT: self._most_in_flight,
            _IN_FLIGHT: total(self._table, counters.ALL, counters.IN_FLIGHT),
            _LINES_LOST: total(self._table, counters.ALL, counters.LINES_LOST),
            _TRITON_UP: float(self._models.triton_up),
        }
        samples[_BUILD].append(_BUILD.line({"version": VERSION}) % 1.0)
        for family, value in values.items():
            samples[family].append(family.line({}) % float(value))

    def _add_packs(self, samples: _Samples) -> None:
        for host in self._models.hosts.values():
            self._add_recoveries(samples, host.entry.name)
            stuck = counters.total(self._table, host.entry.name, counters.STUCK)
            samples[_STUCK].append(put_name(_STUCK.line(_OF_MODEL) % stuck, host.entry.name))
            if whole := counters.highest(self._table, host.entry.name, counters.MEMORY):
                names = [model.entry.name for model in self._models.members(host)]
                # In all processes, as the whole is.
                held = sum(counters.highest(self._table, name, counters.MEMORY) for name in names)
                size = max(0.0, whole - held)
                name = host.entry.name.removesuffix(PACK_SUFFIX)
                samples[_PACK_MEMORY].append(put_name(_PACK_MEMORY.line({"pack": NAME}) % size, name))

    def _add_model(self, samples: _Samples, name: str, model: Model) -> None:
        for endpoint in (*model.entry.spec.endpoints, *counters.DIALECTS):
            # Most models are never asked in most dialects.
            if endpoint in counters.DIALECTS and not counters.was_asked(self._table, name, endpoint):
                continue
            cells = counters.totals(self._table, name, endpoint)
            by_code, rows_at = cells[: len(CODES)], counters.ROWS_AT
            values: dict[Family, float | tuple[float, ...]] = {
                _REQUESTS: sum(by_code),
                _ERRORS: sum(by_code[1:]),
                _QUEUE: cells[counters.QUEUE_SUM],
                _MODEL: cells[counters.MODEL_SUM],
            }
            if values[_REQUESTS]:
                times, milliseconds = cells[counters.LATENCY_AT : counters.LATENCY_SUM], cells[counters.LATENCY_SUM]
                values[_LATENCY] = count_up(times, milliseconds)
                values[_DURATION] = count_up(times, milliseconds / 1e3)
                values[_ROWS] = count_up(cells[rows_at : counters.ROWS_SUM], cells[counters.ROWS_SUM])
            for family, value in values.items():
                samples[family].append(put_name(_LINES[endpoint][family] % value, name))
            # A counter that is there before the first fault: the first one counts in a rate too.
            responses = zip(_RESPONSE_LINES[endpoint], by_code, strict=True)
            lines = (line % count for (always, line), count in responses if count or always)
            samples[_RESPONSES].append(put_name("".join(lines), name))
        for way in counters.WAYS:
            times = counters.call_times(self._table, name, way)
            if any(times):
                shown = count_up(times[: counters.CALL_MS_SUM], times[counters.CALL_MS_SUM] / 1e3)
                samples[_CALL_SECONDS].append(put_name(_CALL_LINES[way] % shown, name))
        self._add_state(samples, name, model)
        self._add_breaker(samples, name, self._breakers[name].model)

    def _add_state(self, samples: _Samples, name: str, model: Model) -> None:
        values: dict[Family, float] = {_READY: float(model.available), _QUEUE_LIMIT: float(model.entry.queue_size)}
        # Unknown if it is 0.
        if memory := counters.highest(self._table, name, counters.MEMORY):
            values[_MEMORY] = memory
        moved = counters.total(self._table, name, counters.MOVED_OUT)
        if moved or model.pack is not None:
            values[_MOVED_OUT] = moved
        for family, cell in _CELLS.items():
            values[family] = counters.total(self._table, name, cell)
        for family, value in values.items():
            samples[family].append(put_name(_STATE_LINES[family] % value, name))
        now = self.regime_of(name)
        samples[_REGIME].append(put_name(_REGIME_LINES % tuple(float(word == now) for word in REGIMES), name))
        self._add_recoveries(samples, name)

    def _add_recoveries(self, samples: _Samples, name: str) -> None:
        recoveries = (
            counters.total(self._table, name, counters.RECOVERIES + i) for i in range(len(counters.RECOVERY_REASONS))
        )
        samples[_RECOVERIES].append(put_name(_RECOVERY_LINES % tuple(recoveries), name))

    def _add_breaker(self, samples: _Samples, name: str, breaker: Breaker) -> None:
        """Add a model's breaker, or Triton's own, which has no model's name."""
        state = breaker.state
        samples[_BREAKER].append(put_name(_BREAKER_LINES % tuple(float(word == state) for word in STATES), name))
        samples[_OPENED].append(put_name(_OPENED_LINE % float(breaker.opened), name))
