"""What V2 says of a server and its models, over HTTP and gRPC alike: as plain values, in the protocol's own words."""

from __future__ import annotations

from typing import Any

from adapter import VERSION
from adapter.dialects.v2_reader import input_slots
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry

SERVER = "schwift"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_NS_A_MS, _NS_A_SECOND = 1e6, 1e9


def describe_server() -> dict[str, Any]:
    """Return the server's metadata."""
    return {"name": SERVER, "version": VERSION, "extensions": list(EXTENSIONS)}


def describe_model(entry: ModelEntry) -> dict[str, Any]:
    """Return a model's metadata: one name and one version, its inputs and its outputs."""
    return {
        "name": entry.name,
        "versions": [str(entry.version)],
        "platform": entry.spec.backend,
        "inputs": [
            {"name": slot.name, "datatype": slot.dtype.triton, "shape": slot.shape} for slot in input_slots(entry)
        ],
        "outputs": [
            {"name": item.name, "datatype": dtypes.by_name(item.dtype).triton, "shape": [-1, *item.dims]}
            for item in entry.outputs
        ],
    }


def describe_config(entry: ModelEntry) -> dict[str, Any]:
    """Return as much of Triton's model configuration as holds for a client: sizes, and the tensors of a row."""
    return {
        "name": entry.name,
        "platform": entry.spec.backend,
        "backend": entry.spec.backend,
        "max_batch_size": entry.direct_max_rows,
        "input": [
            {"name": slot.name, "data_type": slot.dtype.config, "dims": list(slot.dims)} for slot in input_slots(entry)
        ],
        "output": [
            {"name": item.name, "data_type": dtypes.by_name(item.dtype).config, "dims": list(item.dims)}
            for item in entry.outputs
        ],
    }


def describe_statistics(model: Model, table: SharedTable) -> dict[str, Any]:
    """Return what a model's requests came to, by whichever endpoint or dialect, in all workers; times in ns.

    Times that the adapter does not take apart are 0, with the count of the others, which have to agree for Triton's
    perf_analyzer.
    """
    entry = model.entry
    answered = failed = rows = latency = queue = compute = 0.0
    for name in counters.ENDPOINT_NAMES:
        cells = counters.totals(table, entry.name, name)
        answered += cells[0]
        failed += sum(cells[1 : counters.LATENCY_AT])
        rows += cells[counters.ROWS_SUM]
        latency += cells[counters.LATENCY_SUM] * _NS_A_MS
        queue += cells[counters.QUEUE_SUM] * _NS_A_SECOND
        compute += cells[counters.MODEL_SUM] * _NS_A_SECOND
    return {
        "name": entry.name,
        "version": str(entry.version),
        "inference_count": int(rows),
        "execution_count": int(counters.total(table, entry.name, counters.CALLS)),
        "inference_stats": {
            "success": _duration(answered, latency),
            "fail": _duration(failed, 0),
            "queue": _duration(answered, queue),
            "compute_input": _duration(answered, 0),
            "compute_infer": _duration(answered, compute),
            "compute_output": _duration(answered, 0),
        },
    }


def describe_index(registry: Registry) -> list[dict[str, Any]]:
    """Return every model with its version and state: READY, or UNAVAILABLE with the reason."""
    return [
        {
            "name": name,
            "version": str(model.entry.version),
            "state": "READY" if model.available else "UNAVAILABLE",
            "reason": "" if model.available else model.status.reason or model.status.state,
        }
        for name, model in registry.models.items()
    ]


def _duration(count: float, ns: float) -> dict[str, int]:
    return {"count": int(count), "ns": int(ns)}
