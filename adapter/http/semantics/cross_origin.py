"""Pages of other origins that may ask from a browser, where the settings name them (CORS, in the Fetch standard)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Named = Iterable[tuple[bytes, bytes]]
_ANY = b"*"
_METHODS = b"GET, HEAD, POST"
_ASKED = (
    b"Accept, Authorization, Content-Encoding, Content-Type, Inference-Header-Content-Length, X-API-Key, X-Request-Id, "
    b"X-Request-Timeout-Ms, Traceparent"
)
_SHOWN = b"Inference-Header-Content-Length, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
# How long a browser may remember that it may ask.
_MAX_AGE = b"600"


class CrossOrigin:
    """Which origins may read answers: those listed, or with `*` any.

    Keys go in a header that the page has to know; cookies play no part, so no credentials are allowed.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def headers_for(self, named: Named) -> list[tuple[bytes, bytes]]:
        """Return the headers that an answer has for the origin of its request; none for one that is not allowed."""
        origin = _value(named, b"origin")
        if _ANY in self._origins:
            return [] if origin is None else [(b"access-control-allow-origin", _ANY), _expose()]
        vary = (b"vary", b"origin")
        if origin is None or origin.lower() not in self._origins:
            return [vary]
        return [(b"access-control-allow-origin", origin), vary, _expose()]

    def preflight(self, named: Named) -> list[tuple[bytes, bytes]] | None:
        """Return the headers that answer a browser's OPTIONS; None if it is no such question, or of another origin."""
        named = list(named)
        if _value(named, b"access-control-request-method") is None:
            return None
        allowed = self.headers_for(named)
        if not any(name == b"access-control-allow-origin" for name, _ in allowed):
            return None
        return [
            *(header for header in allowed if header != _expose()),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", _MAX_AGE),
        ]


class CrossOriginAnswers:
    """An ASGI application that answers preflights, and has another's answers say who may read them.

    Predictions say so themselves (adapter/http/predict.py), since most do not come here.
    """

    def __init__(self, app: ASGIApp, origins: CrossOrigin) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, which shows no key; pass on everything else."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and (headers := self._origins.preflight(scope["headers"])) is not None:
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = list(message["headers"])
                if not any(name == b"access-control-allow-origin" for name, _ in there):
                    there += self._origins.headers_for(scope["headers"])
                message = {**message, "headers": there}
            await send(message)

        await self.app(scope, receive, send_allowed)


def _expose() -> tuple[bytes, bytes]:
    return (b"access-control-expose-headers", _SHOWN)


def _value(named: Named, wanted: bytes) -> bytes | None:
    return next((value for name, value in named if name == wanted), None)
