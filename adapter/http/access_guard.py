"""Check each request's key, and answer 401 or 403, in front of the framework: on every path, whatever the method.

Predictions are checked by the same policy where they are answered (adapter/http/predict.py); most never come here.
"""

from __future__ import annotations

import time
import urllib.parse
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter.error_codes import STATUS_OF
from adapter.errors import Refused
from adapter.http.answer import Answer
from adapter.http.error_bodies import body_writer, first_part
from adapter.http.error_handlers import error_body
from adapter.http.request_id import KEY_NAME, accepted_request_id, client_of
from adapter.limits.access_policy import FREE, READ, policy
from adapter.limits.api_keys import ApiKeys, Caller
from adapter.limits.client_address import client_address
from adapter.telemetry.access_log import AccessLog
from adapter.telemetry.audit import Audit

UNAUTHENTICATED = 401
# Statuses because of who asked: each gets an audit line.
REFUSALS = frozenset({UNAUTHENTICATED, 403, 429})
CHALLENGE = (b"www-authenticate", b'Bearer realm="schwift"')
# In the scope of a request that may not know more than one word.
BRIEF = "schwift.brief"


def raw_path(scope: Scope) -> bytes:
    """Return the path as the client wrote it, with its escapes and without its query."""
    written: bytes | None = scope.get("raw_path")
    return urllib.parse.quote(scope["path"]).encode() if written is None else written


class AccessGuard:
    """An ASGI application that passes on to another what a request's key allows, and refuses the rest.

    `trusted_hops` is how many proxies in front are believed about the client's address.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, audit: Audit, access: AccessLog, trusted_hops: int) -> None:
        self.app = app
        self._keys = keys
        self._audit = audit
        self._access = access
        self._hops = trusted_hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its key's name in its scope, or refuse it; lifespan events pass as they are."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        arrived = time.monotonic()
        need = policy(raw_path(scope))
        try:
            caller: Caller | None = self._keys.admit(scope["headers"], need)
        except Refused as error:
            if need is not FREE:
                await self._refuse(scope, send, error, need.scope, arrived)
                return
            caller = None
        scope[BRIEF] = need is FREE and not (caller is not None and caller.may(READ))
        scope[KEY_NAME] = "-" if caller is None else caller.name
        await self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, send: Send, error: Refused, need: str, arrived: float) -> None:
        """Answer and log a request that is not let in, before a byte of its body is read."""
        headers = Headers(scope=scope)
        request_id = accepted_request_id(headers.get("x-request-id", "").encode("latin-1")) or uuid.uuid4().hex
        status, _ = STATUS_OF[type(error)]
        client = client_address(client_of(scope), scope["headers"], self._hops)
        self._audit.refused(status, error.why, need, "-", client, error.key, request_id)
        if self._access.wants(status):
            self._access.other(request_id, "-", client, status, time.monotonic() - arrived, error.key or "-")
        write = body_writer(first_part(scope["path"]))
        body, _ = error_body(error, request_id, write=write)
        more = [CHALLENGE] if status == UNAUTHENTICATED else []
        await Answer(status, body, request_id, more).send(send, has_body=scope["method"] != "HEAD")
