"""Predictions from an ASGI server: as a request of the endpoint, and past the framework.

A route of the framework costs more than all the rest of a request here (docs/performance.md). So what is plainly a
prediction is answered in front of it; the route (adapter/http/routes.py) answers the same, and documents it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import unquote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.http.access_guard import raw_path
from adapter.http.answer import Answer
from adapter.http.predict import LEFT, Headers, PredictEndpoint
from adapter.http.request_id import client_of
from adapter.limits.access_policy import Need, policy
from adapter.limits.predict_paths import v2_prediction
from adapter.workers.counters import EndpointName
from converter.schema.model import ENDPOINTS, Endpoint

# From a path, a scope and `receive` to a request; None if the address is none of a dialect's.
FindOther = Callable[[str, Scope, Receive], "ScopedRequest | None"]
# In the scope of a request whose connection ended before its answer.
CLIENT_LEFT = "schwift.client_left"
_ENDPOINTS: dict[str, Endpoint] = {str(endpoint): endpoint for endpoint in ENDPOINTS}


class ScopedRequest:
    """A Request of the endpoint, from an ASGI server. `name` is the model's as it stands in the path."""

    __slots__ = ("_scope", "body", "endpoint", "headers", "name", "receive")

    def __init__(self, endpoint: EndpointName, name: str, scope: Scope, receive: Receive) -> None:
        self.endpoint = endpoint
        self.name = unquote(name)
        self.headers = Headers(scope["headers"])
        self.body = None
        self.receive = receive
        self._scope = scope

    @property
    def query(self) -> bytes:
        """What stands behind the `?` of the address, as it came."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    @property
    def need(self) -> Need:
        """What a key must allow, by the path as the client wrote it."""
        return policy(raw_path(self._scope))

    @property
    def client(self) -> str:
        """The connection's address, without its port; `-` if the server does not tell it."""
        return client_of(self._scope)

    @property
    def named(self) -> Iterable[tuple[bytes, bytes]]:
        """All headers as ASGI has them: names in small letters."""
        named: Iterable[tuple[bytes, bytes]] = self._scope["headers"]
        return named

    @property
    def disconnected(self) -> bool:
        """Whether the connection ended before its answer."""
        return CLIENT_LEFT in self._scope


class AnswerResponse(Response):
    """A response of the framework that sends an Answer; nothing is sent to a client that left."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.content, answer.status)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer over ASGI, or nothing if its status is LEFT."""
        if self._answer.status != LEFT:
            await self._answer.send(send)


class PathAsSent:
    """Middleware that leaves the escapes of a path in it: decoded, `%2F` would be taken for a separator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the escapes in its path if it was sent with any."""
        if scope["type"] == "http":
            path = _path_as_sent(scope)
            if "%" in path:
                scope = {**scope, "path": path}
        await self._app(scope, receive, send)


class PredictShortCut:
    """An ASGI application that answers predictions in front of another, which would answer the same.

    `find_other` makes a request of a POST whose address has another form than ours and V2's.
    """

    def __init__(self, app: ASGIApp, endpoint: PredictEndpoint, find_other: FindOther) -> None:
        self.app = app
        self.endpoint = endpoint
        self._find_other = find_other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a POST that asks for a prediction, and pass everything else on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = _path_as_sent(scope)
            found = _prediction(path)
            request = self._find_other(path, scope, receive) if found is None else ScopedRequest(*found, scope, receive)
            if request is not None:
                answer = await self.endpoint.answer(request)
                if answer.status != LEFT:
                    await answer.send(send)
                return
        await self.app(scope, receive, send)


def _prediction(path: str) -> tuple[EndpointName, str] | None:
    """Return what is asked, and of which model, by a path that needs nothing to be looked up."""
    head, _, name = path[1:].partition("/")
    endpoint = _ENDPOINTS.get(head)
    if endpoint is not None:
        return (endpoint, name) if name and "/" not in name else None
    if head != "v2" or (found := v2_prediction(path.encode("latin-1", "replace"))) is None:
        return None
    # Which version is served is looked up by the route.
    return None if found[1] else ("v2", found[0].decode("latin-1"))


def _path_as_sent(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.decode("latin-1")
    return path
