"""Requests for predictions in KServe's V1 protocol and in MLflow's, by their addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.types import Receive, Scope

from adapter.http.access_guard import raw_path
from adapter.http.asgi import ScopedRequest
from adapter.limits.access_policy import EVERYTHING, Need
from adapter.limits.predict_paths import scoring_prediction


class ScoringRequest(ScopedRequest):
    """A request of the endpoint whose model may be the one that is asked by default."""

    __slots__ = ()

    @property
    def need(self) -> Need:
        """What a key must allow: to ask this model, whether its name stands in the path or in the settings."""
        return EVERYTHING if b"%" in raw_path(self._scope) else Need("predict", self.name)


class ScoringAddresses:
    """Find the dialect and the model of a request by its path.

    `models` returns the names of those that are served, and `default` is which of them `/invocations` asks: the only
    one, if it is None.
    """

    def __init__(self, models: Callable[[], Collection[str]], default: str | None) -> None:
        self._models = models
        self._default = default

    def find(self, path: str, scope: Scope, receive: Receive) -> ScoringRequest | None:
        """Return the request of a POST to this path, with its escapes in it; None if it is no dialect's."""
        found = scoring_prediction(path.encode("latin-1", "replace"))
        if found is None:
            return None
        dialect, name = found
        return ScoringRequest(dialect, name.decode("latin-1") or self._default_model(), scope, receive)

    def _default_model(self) -> str:
        if self._default is not None:
            return self._default
        names = self._models()
        return next(iter(names)) if len(names) == 1 else ""
