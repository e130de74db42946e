"""What the page asks for every two seconds, and for the model that is looked at: little to make, little to send.

Counters are sent as they are, and the browser makes rates and percentiles of two of them: the server keeps no history.
A page asks for the models that it shows, and not for all.
"""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from adapter import VERSION
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.breakers import Breakers
from adapter.telemetry.metrics import Metrics
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry

# More than fit a screen.
MOST_MODELS = 64
# So many take about a millisecond.
_MODELS_A_SLICE = 16
# A model of more numbers a row has no example: nobody reads it.
_MOST_EXAMPLE_VALUES = 1000
_LATENCIES = slice(counters.LATENCY_AT, counters.LATENCY_SUM)


class LiveNumbers:
    """Read what models do now, from the shared table of all workers. `most_in_flight` is what may be in flight."""

    def __init__(
        self, registry: Registry, table: SharedTable, breakers: Breakers, metrics: Metrics, most_in_flight: int
    ) -> None:
        self._registry = registry
        self._table = table
        self._breakers = breakers
        self._metrics = metrics
        self._most_in_flight = most_in_flight

    async def read(self, names: list[str], known: str = "") -> dict[str, Any]:
        """Return the server's numbers, and those of the models of these names, of at most MOST_MODELS.

        `at` is in seconds of a clock that all workers share. `catalogue` changes when a model comes, goes, or is built
        anew: then /available_models says something else. The states of all models are there only if their sum,
        `states_sum`, is another than the one that the page knows.
        """
        models = self._registry.models
        shown = {}
        for number, name in enumerate(dict.fromkeys(names[:MOST_MODELS]), 1):
            if (model := models.get(name)) is not None:
                shown[name] = self._numbers_of(name, model)
            if number % _MODELS_A_SLICE == 0:
                await asyncio.sleep(0)
        states = {name: model.status.state for name, model in models.items()}
        states_sum = _sum(f"{name} {state}" for name, state in states.items())
        told = {} if states_sum == known else {"states_of": states}
        return {
            "at": time.monotonic(),
            "version": VERSION,
            "triton_up": self._registry.triton_up,
            "draining": self._registry.draining,
            "in_flight": counters.total(self._table, counters.ALL, counters.IN_FLIGHT),
            "in_flight_limit": self._most_in_flight,
            "latency_ms": counters.LATENCY_MS,
            "catalogue": _sum(f"{name} {model.entry.version} {model.pack}" for name, model in models.items()),
            "states_sum": states_sum,
            "states": Counter(states.values()),
            "models": shown,
            **told,
        }

    def _numbers_of(self, name: str, model: Model) -> dict[str, Any]:
        endpoints = [counters.totals(self._table, name, endpoint) for endpoint in counters.ENDPOINT_NAMES]
        cells = [sum(values) for values in zip(*endpoints, strict=True)]
        codes = cells[: counters.LATENCY_AT]
        failure = model.last_failure
        return {
            "state": model.status.state,
            "reason": model.status.reason,
            "load_seconds": model.status.load_seconds,
            "regime": self._metrics.regime_of(name),
            "breaker": self._breakers[name].model.state,
            "last_failure": failure and {"at": int(failure.at), "code": failure.code, "reason": failure.reason},
            # 0 is not known.
            "memory": counters.highest(self._table, name, counters.MEMORY) or None,
            "pack": model.pack,
            "moved_out": counters.total(self._table, name, counters.MOVED_OUT),
            "recoveries": sum(cell.total() for cell in model.recoveries.values()),
            "queued": counters.total(self._table, name, counters.QUEUED),
            "requests": sum(codes),
            "errors": sum(codes[1:]),
            "latency": cells[_LATENCIES],
            "calls": counters.total(self._table, name, counters.CALLS),
            "call_rows": counters.total(self._table, name, counters.CALL_ROWS),
        }


def _sum(lines: Iterable[str]) -> str:
    return f"{zlib.crc32('|'.join(lines).encode()):08x}"


def describe_for_callers(model: Model) -> dict[str, Any]:
    """Return a row that is made up, as a client may send it, and the tensors that V2's clients send.

    `example` is null if a row is of more values than anybody reads. A tensor of a model with columns has the `columns`
    of its dtype, in order.
    """
    entry = model.entry
    values = sum(math.prod(map(abs, tensor.dims)) for tensor in entry.inputs)
    return {
        "example": model.codec.request.example_features(1) if values <= _MOST_EXAMPLE_VALUES else None,
        "tensors": [
            {
                "name": tensor.name,
                "datatype": dtypes.by_name(tensor.dtype).triton,
                "numpy": dtypes.by_name(tensor.dtype).numpy,
                "dims": tensor.dims,
                "columns": _columns_of(entry, tensor.dtype),
            }
            for tensor in entry.inputs
        ],
        "outputs": [tensor.name for tensor in entry.outputs],
    }


def _columns_of(entry: ModelEntry, dtype: str) -> list[str]:
    return [column.name for column in entry.columns if column.wire_dtype == dtype]
