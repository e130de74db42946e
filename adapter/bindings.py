"""Which model serves a name on an endpoint now, and which are still at work for requests that began before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter import errors
from adapter.batching.route import ModelRoute
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.breakers import Breakers, ModelBreakers
from adapter.workers.counters import DIALECTS, ENDPOINT_NAMES, EndpointCounters, EndpointName, WorkerCounters

_NO_DEFAULT = (
    "No model is asked by default: ask /models/{model}/invocations, or name one with SCHWIFT_DEFAULT_MODEL; "
    "/available_models lists them."
)
# Clients of V2 know it by its first words, which are Triton's.
UNKNOWN_IN_V2 = "Request for unknown model: none has this name, see /v2/repository/index."


@dataclass(eq=False, slots=True)
class Binding:
    """One endpoint of one model, or one dialect, with all that serves it.

    `most_bytes` is how large the body of one row may be.
    """

    model: Model
    endpoint: EndpointName
    route: ModelRoute
    counts: EndpointCounters
    breakers: ModelBreakers
    most_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        a_row = self.model.codec.request.most_bytes_of_a_row() if self.endpoint == "predict_batched" else None
        self.most_bytes = sys.maxsize if a_row is None else a_row


@dataclass(eq=False)
class Bindings:
    """Follow the registry: each model that it serves gets a route of its own.

    `catch_up` takes over what another worker knows of the models, before anybody is refused.
    """

    _registry: Registry
    _breakers: Breakers
    _counters: WorkerCounters
    _make_route: Callable[[Model], ModelRoute]
    catch_up: Callable[[], None]
    _routes: dict[str, ModelRoute] = field(default_factory=dict, init=False)
    _left: list[ModelRoute] = field(default_factory=list, init=False)
    _found: dict[tuple[str, str], Binding] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name, model in self._registry.models.items():
            self.switch(name, model)
        self._registry.watch(self.switch)

    def switch(self, name: str, model: Model | None) -> None:
        """Lead requests for this name to this model from now on, or nowhere; those that are in keep to theirs."""
        left = self._routes.pop(name, None)
        for endpoint in ENDPOINT_NAMES:
            if (found := self._found.pop((endpoint, name), None)) is not None:
                found.model.status.end_waits()
        if left is not None:
            left.left = True
            self._left.append(left)
            # What failed was the version before.
            self._breakers[name].model.reset()
        if model is not None:
            route = self._routes[name] = self._make_route(model)
            for endpoint in (*model.entry.spec.endpoints, *DIALECTS):
                counts = self._counters.endpoint(name, endpoint)
                self._found[endpoint, name] = Binding(model, endpoint, route, counts, self._breakers[name])

    def leaving(self) -> bool:
        """Return whether requests are still in that began with a model which was replaced since."""
        self._left = [route for route in self._left if route.active]
        return bool(self._left)

    def knows(self, name: str, endpoint: EndpointName) -> bool:
        """Return whether `find` finds it at once."""
        return (endpoint, name) in self._found

    def find(self, name: str, endpoint: EndpointName) -> Binding | None:
        """Return what serves this name on this endpoint."""
        found = self._found.get((endpoint, name))
        if found is None:
            self.catch_up()
            found = self._found.get((endpoint, name))
        return found

    def renew(self, binding: Binding) -> Binding:
        """Return what serves the name and the endpoint of a binding now.

        Raises: BadRequest if nothing does so any more.
        """
        name = binding.model.entry.name
        found = self.find(name, binding.endpoint)
        if found is None:
            raise self.missing(name, binding.endpoint)
        return found

    def missing(self, name: str, endpoint: EndpointName) -> errors.BadRequest:
        """Return why `find` found nothing: UnknownModel, or EndpointOff if the model's config leaves it out."""
        if not name and endpoint == "mlflow":
            return errors.UnknownModel(_NO_DEFAULT)
        if name not in self._registry.models:
            in_v2 = endpoint in ("v2", "v2_grpc")
            return errors.UnknownModel(UNKNOWN_IN_V2 if in_v2 else "No model has this name: see /available_models.")
        return errors.EndpointOff(f"This model is not served on /{endpoint}: see /available_models.")

    def refresh(self) -> None:
        """Bring the shown regimes up to date, for models without traffic."""
        for route in self._routes.values():
            route.refresh()
