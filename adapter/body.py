"""Reading a request: its headers and its body, within bounds."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from adapter.errors import BadHeader, BodyTooLarge, UnsupportedMedia

__all__ = ["ClientDisconnect", "read_json_body", "requested_timeout"]

# Of a Content-Length; more is over any limit.
_MOST_DIGITS = 18
TIMEOUT_HEADER = "X-Request-Timeout-Ms"


async def read_json_body(request: Request, limit: int) -> bytes:
    """The whole body. UnsupportedMedia, or BodyTooLarge before more than `limit` bytes are held.

    ClientDisconnect if the client leaves meanwhile.
    """
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise UnsupportedMedia("The body must be JSON: send it with Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("A compressed body is not taken: send it without Content-Encoding.")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def requested_timeout(request: Request) -> float | None:
    """The client's own deadline, in seconds."""
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:12]) > 0):
        raise BadHeader(f"{TIMEOUT_HEADER} must be a positive whole number of milliseconds.")
    return int(text[:12]) / 1e3


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is over the limit of {limit} bytes: send fewer rows a request.")
