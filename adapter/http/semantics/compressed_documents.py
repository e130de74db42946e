"""Documents, metrics and lists of models, compressed for who accepts that."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.http.semantics.content_codings import LEAST_DOCUMENT, accepted_coding, compress

_COMPRESSIBLE = ("text/", "application/json", "application/javascript", "application/openmetrics-text", "image/svg+xml")


class CompressedDocuments:
    """Middleware that compresses answers which come in one piece; others, and small ones, pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and compress its answer if that is asked for and worth it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        coding = accepted_coding(scope["headers"])
        start: Message | None = None

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                head, start = start, None
                body = message.get("body", b"")
                if not message.get("more_body", False) and len(body) >= LEAST_DOCUMENT and _is_plain(head):
                    headers = MutableHeaders(scope=head)
                    headers.add_vary_header("Accept-Encoding")
                    if coding is not None:
                        body = await compress(body, coding)
                        headers["Content-Encoding"] = coding.decode()
                        headers["Content-Length"] = str(len(body))
                        if headers.get("etag", "").startswith('"'):
                            # In a coding it is no longer the same byte for byte (RFC 9110, 8.8.3.3).
                            headers["ETag"] = "W/" + headers["etag"]
                        message = {**message, "body": body}
                await send(head)
            await send(message)

        await self._app(scope, receive, send_compressed)


def _is_plain(head: Message) -> bool:
    """Return whether an answer is text without a coding."""
    headers = Headers(raw=head["headers"])
    return "content-encoding" not in headers and headers.get("content-type", "").startswith(_COMPRESSIBLE)
