"""One request from its body to its answer: admit → parse → infer → write. No web in here."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping

from adapter import errors
from adapter.backend.protocol import InferenceBackend
from adapter.batching.calls import ANSWERS, ModelCalls
from adapter.batching.route import ModelRoute
from adapter.codec.decode import Features
from adapter.codec.large_bodies import LargeBody
from adapter.codec.off_loop import OffLoop
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.admission import Admission
from adapter.limits.breakers import NO_PROBES, Breakers, ModelBreakers
from adapter.request_timings import RequestTimings
from adapter.workers.counters import EndpointCounters, WorkerCounters
from converter.schema.manifest import ModelEntry
from converter.schema.model import ENDPOINTS, Endpoint
from converter.schema.settings import RegimeName


class Binding:
    """One endpoint of one model, with all that serves it."""

    __slots__ = ("endpoint", "model", "model_breakers", "most_bytes", "route", "tally")

    def __init__(
        self,
        model: Model,
        endpoint: Endpoint,
        route: ModelRoute,
        counts: EndpointCounters,
        model_breakers: ModelBreakers,
    ) -> None:
        self.model = model
        self.endpoint = endpoint
        self.route = route
        self.tally = counts
        self.model_breakers = model_breakers
        # Of a body: one row is not large.
        a_row = model.codec.request.most_bytes_of_a_row() if endpoint == "predict_batched" else None
        self.most_bytes = sys.maxsize if a_row is None else a_row


class Predictor:
    """`timeout` is the deadline of every request, in seconds.

    `catch_up` takes over what another worker knows of the models, before anybody is refused. `slept_since` says whether
    the event loop has stood still since a moment of `clock`: a deadline that passed meanwhile is nobody's fault.
    `off_loop` reads large bodies; without one they are read here.
    """

    def __init__(
        self,
        registry: Registry,
        backend: InferenceBackend,
        worker_counters: WorkerCounters,
        admission: Admission,
        breakers: Breakers,
        timeout: float,
        regime: RegimeName | None = None,
        clock: Callable[[], float] = time.monotonic,
        catch_up: Callable[[], None] = lambda: None,
        slept_since: Callable[[float], bool] = lambda moment: False,
        off_loop: OffLoop | None = None,
    ) -> None:
        self._backend = backend
        self._counters = worker_counters
        self._admission = admission
        self._breakers = breakers
        self._timeout = timeout
        self._regime = regime
        self._clock = clock
        self._catch_up = catch_up
        self._slept_since = slept_since
        self._off_loop = off_loop
        self._routes: dict[str, ModelRoute] = {}
        self._left: list[ModelRoute] = []
        self._targets: dict[tuple[str, str], Binding] = {}
        for name, model in registry.models.items():
            self.switch(name, model)
        self._registry = registry
        registry.watch(self.switch)
        registry.watch_losses(self._abandon)
        backend.watch_deaths(self._died_late)

    def switch(self, name: str, model: Model | None) -> None:
        """From now on requests for this name go to this model, or nowhere; those that are in keep to theirs."""
        left = self._routes.pop(name, None)
        for endpoint in ENDPOINTS:
            self._targets.pop((endpoint, name), None)
        if left is not None:
            left.left = True
            self._left.append(left)
            # What failed was the version before.
            self._breakers[name].model.reset()
        if model is not None:
            model_calls = ModelCalls(model.entry, model.codec, self._backend)
            route = ModelRoute(model_calls, self._counters, self._regime, self._clock)
            self._routes[name] = route
            for endpoint in model.entry.spec.endpoints:
                counts = self._counters.endpoint(name, endpoint)
                self._targets[endpoint, name] = Binding(model, endpoint, route, counts, self._breakers[name])

    def leaving(self) -> bool:
        """Whether requests are still in that began with a model which was replaced since."""
        self._left = [route for route in self._left if route.active]
        return bool(self._left)

    def knows(self, name: str, endpoint: Endpoint) -> bool:
        """Whether `find` finds it at once."""
        return (endpoint, name) in self._targets

    def find(self, name: str, endpoint: Endpoint) -> Binding | None:
        found = self._targets.get((endpoint, name))
        if found is None:
            self._catch_up()
            found = self._targets.get((endpoint, name))
        return found

    def missing(self, name: str, endpoint: Endpoint) -> errors.BadRequest:
        """Why `find` found nothing: UnknownModel, or EndpointOff where the model's config leaves the endpoint out."""
        if name not in self._registry.models:
            return errors.UnknownModel("No model has this name: see /available_models.")
        return errors.EndpointOff(f"This model is not served on /{endpoint}: see /available_models.")

    def drain(self) -> None:
        """Be not ready from now on; requests are served until the server cuts them off."""
        self._registry.draining = True

    def _current(self, target: Binding) -> Binding:
        name = target.model.entry.name
        found = self.find(name, target.endpoint)
        if found is None:
            raise self.missing(name, target.endpoint)
        return found

    def refresh(self) -> None:
        """Bring what the board shows up to date, for models without traffic."""
        for route in self._routes.values():
            route.refresh()

    async def predict(
        self, target: Binding, body: bytes | LargeBody, timeout: float | None, timings: RequestTimings
    ) -> bytes:
        """The body of a 200. `timeout` is the client's, if shorter than ours. Raises AdapterError."""
        started = self._clock()
        seconds = self._timeout if timeout is None or timeout > self._timeout else timeout
        if not target.model.ready:
            self._catch_up()
        if target.route.left:
            # The model was replaced while the body was read.
            target = self._current(target)
        model, model_breakers = target.model, target.model_breakers
        loads, undead = model.loads, model.undead_mended
        if not model.ready:
            raise self._unavailable(model)
        self._admission.enter()
        probes = NO_PROBES
        try:
            probes = model_breakers.admit(seconds)
            try:
                answer = await self._answer(target, body, started, seconds, timings)
            except ANSWERS as error:
                if model.undead != undead:
                    raise _doubtful() from error
                raise
            if model.undead != undead:
                raise _doubtful()
            ended = self._clock()
            self._admission.observe(ended - started)
            model_breakers.succeeded(ended, probes)
            return answer
        except errors.AdapterError as error:
            no_fault = seconds < self._timeout or self._slept_since(started)
            model_breakers.failed(error, self._clock(), probes, own_deadline=no_fault)
            if isinstance(error, errors.ModelProcessDead) and not target.route.left:
                model.mark_dead(loads)
            raise
        except asyncio.CancelledError as error:
            if not self._registry.draining:
                raise
            # The drain is over and this has not ended.
            raise errors.Draining(errors.DRAINING) from error
        finally:
            self._admission.leave()
            model_breakers.release(probes)

    async def _answer(
        self, target: Binding, body: bytes | LargeBody, started: float, seconds: float, timings: RequestTimings
    ) -> bytes:
        codec = target.model.codec
        unfit = None
        if isinstance(body, LargeBody) and self._off_loop is not None:
            features, unfit = await self._parse_large(self._off_loop, target, body, started + seconds - self._clock())
        else:
            features = codec.request.parse(body if isinstance(body, bytes) else body.read())
        timings.rows = rows = len(features[0])
        timings.parse = self._clock() - started
        if rows > 1 and target.endpoint == "predict_batched":
            raise errors.AlreadyBatched(
                f"/predict_batched takes one row a request and batches them itself; this one has {rows}: "
                "send them to /predict."
            )
        if unfit is not None:
            raise unfit
        if timings.account is not None:
            timings.account.take_rows(rows)
        parts = await target.route.infer(target.endpoint, features, started + seconds, timings)
        inferred = self._clock()
        answer = codec.answer.body(parts)
        timings.write = self._clock() - inferred
        return answer

    async def _parse_large(
        self, off_loop: OffLoop, target: Binding, body: LargeBody, timeout: float
    ) -> tuple[Features, errors.BadFeatures | None]:
        route = target.route
        # Its version is not to go meanwhile.
        route.active += 1
        try:
            return await off_loop.parse(target.model.entry, body, timeout)
        finally:
            route.active -= 1

    def _died_late(self, triton_model: str, began: float) -> None:
        for model in self._registry.models.values():
            if triton_model in model.entry.triton_models and began >= model.since:
                model.mark_dead(model.loads)

    def _abandon(self, entry: ModelEntry) -> None:
        for name in entry.triton_models:
            self._backend.abandon(name)

    def _unavailable(self, model: Model) -> errors.TryLater:
        if model.status.state == "unavailable" and not self._registry.triton_up:
            return errors.UpstreamDown(errors.UNREACHABLE)
        return _not_ready(model)


def _doubtful() -> errors.ModelProcessDead:
    """A process of the model was called dead meanwhile that was there: see Model."""
    return errors.ModelProcessDead(errors.UNAVAILABLE, "the answer may be another call's")


def _not_ready(model: Model) -> errors.ModelUnavailable:
    words: Mapping[str, str] = {
        "waiting": "The model is not loaded yet; try again shortly.",
        "loading": "The model is being loaded; try again shortly.",
        "recovering": "The model stopped answering and is being loaded again; try again shortly.",
        "failed": "The model could not be loaded: see /health.",
    }
    detail = words.get(model.status.state, errors.UNAVAILABLE)
    # A failed load is not tried again by itself, so coming back soon is of no use.
    return errors.ModelUnavailable(detail, retry_after=30 if model.status.state == "failed" else 1)
