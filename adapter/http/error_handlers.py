"""The JSON body that every error has, and the handlers that the framework calls for errors."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adapter import errors
from adapter.error_codes import STATUS_OF
from adapter.http.error_bodies import WriteBody, body_writer, first_part, write_own

_log = logging.getLogger("schwift.adapter")

_STARLETTE_CODES = {404: "not_found", 405: "method_not_allowed"}
_STARLETTE_DETAILS = {
    404: "There is nothing at this address: see /docs for what there is.",
    405: "This address does not take this method: see the Allow header.",
}
_INTERNAL = "Something went wrong inside the server; its log has the details under this request_id."


def _writer_for(request: Request) -> WriteBody:
    return body_writer(first_part(request.scope["path"]))


def error_body(
    error: errors.AdapterError, request_id: str, reason: str = "", write: WriteBody = write_own
) -> tuple[bytes, int | None]:
    """Return an error's JSON body, and the seconds for Retry-After if it has them; log what it has `inside`.

    `reason` is what the client may know of that; `write` writes the body.
    """
    status, code = STATUS_OF[type(error)]
    if error.inside:
        _log.warning("request %s: %d %s: %s", request_id, status, code, error.inside)
    detail = f"{error.detail.rstrip('.')}: {reason}" if reason else error.detail
    body = write(status, detail, code, request_id)
    return body, max(1, math.ceil(error.retry_after)) if isinstance(error, errors.TryLater) else None


def log_unexpected(error: Exception, request_id: str, write: WriteBody = write_own) -> bytes:
    """Log a fault of ours with its traceback, and return the body of its answer, which has nothing of it."""
    _log.error("request %s: unexpected error", request_id, exc_info=error)
    return write(500, _INTERNAL, "internal_error", request_id)


def to_response(error: errors.AdapterError, request_id: str, write: WriteBody = write_own) -> Response:
    """Return the response for an error of ours, with its status of STATUS_OF and its Retry-After if it has one."""
    body, retry_after = error_body(error, request_id, write=write)
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return Response(body, STATUS_OF[type(error)][0], headers, media_type="application/json")


def request_id_of(request: Request) -> str:
    """Return the id that the middleware gave a request; empty if the request did not come that far."""
    return str(request.scope.get("request_id", ""))


async def handle_adapter_error(request: Request, error: Exception) -> Response:
    """Answer an error of ours that a route raised."""
    assert isinstance(error, errors.AdapterError)
    return to_response(error, request_id_of(request), _writer_for(request))


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """Answer an error of Starlette's own, as 404 and 405, in the form of ours."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = _STARLETTE_CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_"))
    detail = _STARLETTE_DETAILS.get(status, HTTPStatus(status).phrase + ".")
    body = _writer_for(request)(status, detail, code, request_id_of(request))
    headers = dict(error.headers or {})
    if "GET" in (allowed := headers.get("Allow", "").split(", ")) and "HEAD" not in allowed:
        headers["Allow"] = ", ".join([*allowed, "HEAD"])
    return Response(body, status, headers, media_type="application/json")


async def handle_unexpected(request: Request, error: Exception) -> Response:
    """Answer 500 to any other exception, whose traceback goes to the log alone."""
    request_id = request_id_of(request)
    # Starlette calls this outside of the middleware that sets the header elsewhere.
    headers = {"X-Request-Id": request_id}
    body = log_unexpected(error, request_id, _writer_for(request))
    return Response(body, 500, headers, media_type="application/json")


HANDLERS: dict[Any, Any] = {
    errors.AdapterError: handle_adapter_error,
    HTTPException: handle_http_exception,
    Exception: handle_unexpected,
}
