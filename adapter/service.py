"""One request from its body to its answer: admit → decode → infer → check → encode. No web in here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from adapter import errors
from adapter.admission import Admission
from adapter.backend.protocol import Arrays, InferenceBackend
from adapter.codec import rows_of
from adapter.dispatch import Dispatcher
from adapter.registry import Model, Registry
from converter.spec.model import Endpoint

_log = logging.getLogger("schwift.requests")


@dataclass
class Timings:
    """When each stage ended, in seconds since the body was there; for the log."""

    rows: int = 0
    stages: dict[str, float] = field(default_factory=dict)


class PredictService:
    """`timeout` is the deadline of every request, in seconds."""

    def __init__(
        self,
        registry: Registry,
        backend: InferenceBackend,
        admission: Admission,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._dispatchers = {
            name: Dispatcher(model.entry, model.codec, backend) for name, model in registry.models.items()
        }
        self._admission = admission
        self._timeout = timeout
        self._clock = clock

    def knows(self, name: str) -> bool:
        """Whether a model has this name."""
        return name in self._registry.models

    def find(self, name: str, endpoint: Endpoint) -> Model:
        """UnknownModel, or EndpointOff where the model's config leaves the endpoint out."""
        model = self._registry.models.get(name)
        if model is None:
            raise errors.UnknownModel("No model has this name: see /available_models.")
        if endpoint not in model.entry.spec.endpoints:
            raise errors.EndpointOff(f"This model is not served on /{endpoint}: see /available_models.")
        return model

    async def predict(
        self, model: Model, endpoint: Endpoint, body: bytes, timeout: float | None, timings: Timings
    ) -> bytes:
        """The body of a 200. `timeout` is the client's, if shorter than ours. Raises AdapterError."""
        started = self._clock()
        deadline = started + min(self._timeout, timeout if timeout is not None else self._timeout)
        if not model.ready:
            raise _unavailable(model)
        with self._admission.permit():
            arrays = model.codec.decode(body)
            timings.rows = rows_of(arrays)
            timings.stages["decode"] = self._clock() - started
            if endpoint == "predict_batched" and timings.rows > 1:
                raise errors.AlreadyBatched(
                    f"/predict_batched takes one row a request and batches them itself; this one has {timings.rows}: "
                    "send them to /predict."
                )
            try:
                outputs = await self._infer(model, endpoint, arrays, deadline)
            except errors.ModelProcessDead:
                model.mark_dead()
                raise
            timings.stages["infer"] = self._clock() - started
            answer = model.codec.encode(outputs)
            elapsed = self._clock() - started
            timings.stages["encode"] = elapsed
            self._admission.observe(elapsed)
            return answer

    async def _infer(self, model: Model, endpoint: Endpoint, arrays: Arrays, deadline: float) -> Arrays:
        """To the front for `/predict_batched`; else joined with others, in parts of the model's max_batch_size."""
        entry = model.entry
        if endpoint == "predict_batched" and entry.front is not None:
            outputs = await self._backend.infer(
                entry.front, entry.inputs, arrays, entry.outputs, deadline - self._clock()
            )
            model.codec.check(outputs, rows_of(arrays))
            return outputs
        dispatcher = self._dispatchers[entry.name]
        rows, most = rows_of(arrays), entry.direct_max_rows
        if rows <= most:
            return await dispatcher.infer(arrays, rows, deadline - self._clock())
        parts: list[Arrays] = []
        for start in range(0, rows, most):
            part = {name: array[start : start + most] for name, array in arrays.items()}
            parts.append(await dispatcher.infer(part, rows_of(part), deadline - self._clock()))
        return _joined(parts)


def _joined(parts: list[Arrays]) -> Arrays:
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise errors.BadModelOutput(
            "The model's answer is not what its config promises.", "the parts of a request differ in shape"
        ) from error


def _unavailable(model: Model) -> errors.ModelUnavailable:
    words: Mapping[str, str] = {
        "waiting": "The model is not loaded yet; try again shortly.",
        "loading": "The model is being loaded; try again shortly.",
        "failed": "The model could not be loaded: see /health.",
    }
    detail = words.get(model.status.state, "The model is not available now; try again shortly.")
    # A failed load is not tried again by itself, so coming back soon is of no use.
    return errors.ModelUnavailable(detail, retry_after=30 if model.status.state == "failed" else 1)
