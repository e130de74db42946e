"""One request from its body to its answer: admit → parse → infer → write. No web in here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from adapter import errors
from adapter.bindings import Binding, Bindings
from adapter.codec.decode import Features
from adapter.codec.large_bodies import LargeBody
from adapter.codec.off_loop import OffLoop
from adapter.codec.request_form import RequestForm
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.admission import Admission
from adapter.limits.breakers import NO_PROBES
from adapter.request_timings import RequestTimings

_NOT_READY: Mapping[str, str] = {
    "waiting": "The model is not loaded yet; try again shortly.",
    "loading": "The model is being loaded; try again shortly.",
    "recovering": "The model stopped answering and is being loaded again; try again shortly.",
    "failed": "The model could not be loaded: see /health.",
}


class Predictor:
    """Answer requests within their deadlines.

    `timeout` is the longest that a request may take, in seconds. A deadline that passed while the event loop stood
    still, as `awake` knows, is nobody's fault.
    """

    def __init__(
        self,
        registry: Registry,
        bindings: Bindings,
        admission: Admission,
        timeout: float,
        awake: AwakeClock,
        off_loop: OffLoop,
    ) -> None:
        self.bindings = bindings
        self._registry = registry
        self._admission = admission
        self._timeout = timeout
        self._clock = awake.clock
        self._slept_since = awake.slept_since
        self._off_loop = off_loop
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None

    def drain(self) -> None:
        """Be not ready from now on; requests are served until the server cuts them off."""
        self._registry.draining = True

    async def predict(
        self,
        target: Binding,
        body: bytes | LargeBody,
        timeout: float | None,
        timings: RequestTimings,
        labels: bool = False,
        form: RequestForm | None = None,
    ) -> bytes:
        """Return the body of a 200. `timeout` is the client's own, in seconds, and counts if it is shorter than ours.

        With `labels` each row is an object by class. `form` reads and writes what is asked in another dialect.

        Raises: AdapterError, which says what became of the request in place of an answer.
        """
        started = self._clock()
        seconds = self._timeout if timeout is None or timeout > self._timeout else timeout
        if not target.model.ready:
            self.bindings.catch_up()
        if target.route.left:
            # The model was replaced while the body was read.
            target = self.bindings.renew(target)
        if not target.model.ready:
            target = await self._wait_awake(target, seconds, timings)
        model, breakers = target.model, target.breakers
        incarnation = model.incarnation
        self._admission.enter()
        probes = NO_PROBES
        try:
            probes = breakers.admit(seconds)
            try:
                answer = await self._answer(target, body, started, seconds, timings, labels, form)
            except errors.ANSWERS as error:
                if model.is_tainted(incarnation):
                    raise _doubtful() from error
                raise
            if model.is_tainted(incarnation):
                raise _doubtful()
            ended = self._clock()
            self._admission.observe(ended - started)
            breakers.succeeded(ended, probes)
            return answer
        except errors.AdapterError as error:
            no_fault = seconds < self._timeout or self._slept_since(started)
            breakers.failed(error, self._clock(), probes, own_deadline=no_fault)
            if isinstance(error, errors.ModelProcessDead):
                model.report_dead(incarnation, "a call")
            raise
        except asyncio.CancelledError as error:
            if not self._registry.draining:
                raise
            # The drain is over and this has not ended.
            raise errors.Draining(errors.DRAINING) from error
        finally:
            self._admission.leave()
            breakers.release(probes)

    async def _answer(
        self, target: Binding, body: bytes | LargeBody, started: float, seconds: float, timings: RequestTimings,
        labels: bool, form: RequestForm | None,
    ) -> bytes:  # fmt: skip
        codec = target.model.codec
        if labels and codec.labels is None:
            raise errors.BadQuery("labels=true needs the key `classes` in the model's model_config.yaml.")
        unfit = None
        if isinstance(body, bytes):
            features = codec.request.parse(body) if form is None else form.parse(body, codec)
        else:
            features, unfit = await self._parse_large(target, body, started + seconds - self._clock(), form)
        if form is not None:
            timings.tensors = form.tensors
        timings.rows = rows = len(features[0])
        # Less the time that it waited for the model to wake.
        timings.parse = self._clock() - started - timings.queue
        if rows > 1 and target.endpoint == "predict_batched":
            raise errors.AlreadyBatched(
                f"/predict_batched takes one row a request and batches them itself; this one has {rows}: "
                "send them to /predict."
            )
        if unfit is not None:
            raise unfit
        if timings.account is not None:
            timings.account.take_rows(rows)
        # From here on down it is a moment of the loop's time, by which its timers go.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        deadline = loop.time() + started + seconds - self._clock()
        try:
            parts = await target.route.infer(target.endpoint, features, deadline, timings)
        except errors.ModelUnavailable:
            self.bindings.catch_up()
            if not target.model.sleeps:
                raise
            # It fell asleep a moment ago, and did not see the request.
            await self._wake(target, deadline - loop.time())
            parts = await target.route.infer(target.endpoint, features, deadline, timings)
        inferred = self._clock()
        if labels and codec.labels:
            parts = codec.labels.label(parts)
        answer = codec.answer.body(parts) if form is None else form.write(parts, codec)
        timings.write = self._clock() - inferred
        return answer

    async def _parse_large(
        self, target: Binding, body: LargeBody, timeout: float, form: RequestForm | None
    ) -> tuple[Features, errors.BadFeatures | None]:
        route = target.route
        # Its version is not to go meanwhile.
        route.active += 1
        try:
            if form is None:
                return await self._off_loop.parse(target.model.entry, body, timeout)
            features, unfit, note = await self._off_loop.parse_form(target.model.entry, body, timeout, form)
            return form.take(features, note, target.model.codec), unfit
        finally:
            route.active -= 1

    async def _wait_awake(self, target: Binding, seconds: float, timings: RequestTimings) -> Binding:
        """Return what serves a model's name once it is awake, within so many seconds.

        Raises: ModelUnavailable if it is not asleep, or does not wake.
        """
        if not target.model.sleeps or not self._registry.triton_up:
            raise self._unavailable(target.model)
        began = self._clock()
        self._admission.enter()
        try:
            await self._wake(target, seconds)
        except asyncio.CancelledError as error:
            if not self._registry.draining:
                raise
            raise errors.Draining(errors.DRAINING) from error
        finally:
            self._admission.leave()
            timings.queue += self._clock() - began
        if target.route.left:
            target = self.bindings.renew(target)
        if not target.model.ready:
            raise self._unavailable(target.model)
        return target

    async def _wake(self, target: Binding, seconds: float) -> None:
        """Have a sleeping model loaded by the worker that leads, and wait for that."""
        model = target.model
        model.wanted.add(1)
        try:
            await asyncio.wait_for(model.status.wait_awake(), seconds)
        except asyncio.TimeoutError as error:
            raise errors.DeadlineExceeded(errors.DEADLINE) from error
        finally:
            model.wanted.add(-1)

    def _unavailable(self, model: Model) -> errors.TryLater:
        state = model.status.state
        if state in ("unavailable", "asleep") and not self._registry.triton_up:
            return errors.UpstreamDown(errors.UNREACHABLE)
        # A failed load is not tried again by itself, so coming back soon is of no use.
        retry_after = 30 if state == "failed" else 1
        return errors.ModelUnavailable(_NOT_READY.get(state, errors.UNAVAILABLE), retry_after=retry_after)


def _doubtful() -> errors.ModelProcessDead:
    """Return the error of an answer that came while a process of the model was called dead and goes on."""
    return errors.ModelProcessDead(errors.UNAVAILABLE, "the answer may be another call's")
