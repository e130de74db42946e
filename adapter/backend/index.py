"""Triton's index of its models, as its HTTP and its gRPC tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec


class ModelVersion(Protocol):
    """A version of a model in the index; what was never loaded has no version and no state."""

    name: str
    version: str
    state: str


class _ModelVersion(msgspec.Struct):
    name: str
    version: str = ""
    state: str = ""


_DECODE = msgspec.json.Decoder(list[_ModelVersion]).decode


def decode_index(body: bytes) -> list[_ModelVersion]:
    """Read the index as Triton's HTTP sends it. Raises msgspec.DecodeError if it is something else."""
    return _DECODE(body)


def collect_states(index: Iterable[ModelVersion]) -> dict[str, str]:
    """Return the state of each version, by `name/version`, and of each model, as InferenceBackend has it."""
    states: dict[str, str] = {}
    for model in index:
        state = model.state or "not loaded"
        states[f"{model.name}/{model.version}"] = state
        # Older versions stay in the index after they were unloaded.
        if states.get(model.name) != "READY":
            states[model.name] = state
    return states
