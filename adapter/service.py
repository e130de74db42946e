"""One request from its body to its answer: admit → parse → infer → write. No web in here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from adapter import errors, tally
from adapter.admission import Admission
from adapter.backend.protocol import InferenceBackend
from adapter.board import Board
from adapter.lanes import Lane
from adapter.regime import RegimeName
from adapter.registry import Model, Registry
from adapter.timings import Timings
from converter.spec.model import Endpoint


class Target:
    """One endpoint of one model, with all that serves it."""

    __slots__ = ("endpoint", "lane", "model", "tally")

    def __init__(self, model: Model, endpoint: Endpoint, lane: Lane, counts: tally.Tally) -> None:
        self.model = model
        self.endpoint = endpoint
        self.lane = lane
        self.tally = counts


class PredictService:
    """`timeout` is the deadline of every request, in seconds."""

    def __init__(
        self,
        registry: Registry,
        backend: InferenceBackend,
        board: Board,
        worker: int,
        admission: Admission,
        timeout: float,
        regime: RegimeName | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission = admission
        self._timeout = timeout
        self._clock = clock
        self._lanes: list[Lane] = []
        self._targets: dict[tuple[str, str], Target] = {}
        for name, model in registry.models.items():
            lane = Lane(model.entry, model.codec, backend, board, worker, regime, clock)
            self._lanes.append(lane)
            for endpoint in model.entry.spec.endpoints:
                counts = tally.Tally(board, name, worker, endpoint)
                self._targets[endpoint, name] = Target(model, endpoint, lane, counts)
        self._registry = registry

    def find(self, name: str, endpoint: Endpoint) -> Target | None:
        return self._targets.get((endpoint, name))

    def missing(self, name: str, endpoint: Endpoint) -> errors.BadRequest:
        """Why `find` found nothing: UnknownModel, or EndpointOff where the model's config leaves the endpoint out."""
        if name not in self._registry.models:
            return errors.UnknownModel("No model has this name: see /available_models.")
        return errors.EndpointOff(f"This model is not served on /{endpoint}: see /available_models.")

    def refresh(self) -> None:
        """Bring what the board shows up to date, for models without traffic."""
        for lane in self._lanes:
            lane.refresh()

    async def predict(self, target: Target, body: bytes, timeout: float | None, timings: Timings) -> bytes:
        """The body of a 200. `timeout` is the client's, if shorter than ours. Raises AdapterError."""
        started = self._clock()
        deadline = started + (self._timeout if timeout is None or timeout > self._timeout else timeout)
        model = target.model
        if not model.ready:
            raise _unavailable(model)
        self._admission.enter()
        try:
            features = model.codec.request.parse(body)
            timings.rows = rows = len(features[0])
            timings.parse = self._clock() - started
            if rows > 1 and target.endpoint == "predict_batched":
                raise errors.AlreadyBatched(
                    f"/predict_batched takes one row a request and batches them itself; this one has {rows}: "
                    "send them to /predict."
                )
            parts = await target.lane.infer(target.endpoint, features, deadline, timings)
            inferred = self._clock()
            answer = model.codec.answer.body(parts)
            ended = self._clock()
            timings.write = ended - inferred
            self._admission.observe(ended - started)
            return answer
        except errors.ModelProcessDead:
            model.mark_dead()
            raise
        finally:
            self._admission.leave()


def _unavailable(model: Model) -> errors.ModelUnavailable:
    words: Mapping[str, str] = {
        "waiting": "The model is not loaded yet; try again shortly.",
        "loading": "The model is being loaded; try again shortly.",
        "failed": "The model could not be loaded: see /health.",
    }
    detail = words.get(model.status.state, "The model is not available now; try again shortly.")
    # A failed load is not tried again by itself, so coming back soon is of no use.
    return errors.ModelUnavailable(detail, retry_after=30 if model.status.state == "failed" else 1)
