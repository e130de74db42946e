"""Middleware that gives each request the id which its answer and its log lines have."""

from __future__ import annotations

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.limits.client_address import client_address
from adapter.telemetry.access_log import AccessLog

# In the scope of a request: the name of the key that it showed, where keys are on.
KEY_NAME = "schwift.key_name"
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def accepted_request_id(given: bytes) -> str | None:
    """Return the client's own id if it is harmless in a header and a log, else None."""
    return given.decode() if given and _ACCEPTED.fullmatch(given) else None


def client_of(scope: Scope) -> str:
    """Return the connection's address, without its port; `-` if the server does not tell it."""
    client = scope.get("client")
    return client[0] if client else "-"


class RequestId:
    """Gives each request an id, the client's X-Request-Id if it is harmless, sends it back, and logs the request.

    A prediction has both from its endpoint.
    """

    def __init__(self, app: ASGIApp, access: AccessLog, trusted_hops: int = 0) -> None:
        self._app = app
        self._access = access
        self._hops = trusted_hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with an id, put the id into the answer's head, and log the request at that moment."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "").encode("latin-1")
        request_id = accepted_request_id(given) or uuid.uuid4().hex
        scope["request_id"] = request_id
        started = time.monotonic()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start" and "x-request-id" not in Headers(raw=message["headers"]):
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                status = message["status"]
                if self._access.wants(status):
                    endpoint = getattr(scope.get("route"), "path", "-")
                    client = client_address(client_of(scope), scope["headers"], self._hops)
                    seconds = time.monotonic() - started
                    self._access.other(request_id, endpoint, client, status, seconds, scope.get(KEY_NAME))
            await send(message)

        await self._app(scope, receive, send_with_id)
