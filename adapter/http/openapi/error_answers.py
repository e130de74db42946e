"""The answers to requests that fail, as components of the OpenAPI document, once for each status and form of body."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

import orjson

from adapter.error_codes import STATUS_OF
from adapter.errors import AdapterError, BadTensor, SchemaMismatch
from adapter.http.error_bodies import body_writer

# Whose form an error's body has.
Dialect = Literal["own", "kserve", "mlflow"]
# What any address may answer, whichever part of the server refuses the request.
ANYWHERE: Mapping[int, str] = {
    400: "not HTTP as it should be",
    401: "the key is missing, wrong or expired",
    403: "the key does not allow this",
    405: "another method is needed: see Allow",
    408: "the request did not come in time",
    431: "the head of the request is too large",
}
# Refused before anybody knows which address is asked: always in our own form.
_BEFORE_ADDRESSES = (408, 431)
# The framework's own, beside those of the table.
_MORE_CODES = {"not_found": 404, "method_not_allowed": 405}
_OF_DIALECTS: tuple[type[AdapterError], ...] = (BadTensor, SchemaMismatch)
_NAMES: Mapping[Dialect, str] = {"own": "Error", "kserve": "KserveError", "mlflow": "MlflowError"}
_SCHEMAS: Mapping[Dialect, str] = {"own": "ErrorResponse", "kserve": "KserveError", "mlflow": "MlflowError"}
_WRITERS: Mapping[Dialect, str] = {"own": "", "kserve": "v2", "mlflow": "mlflow"}
_AN_ID = "5f0c2a9d71e80000002a"
_HEADERS: Mapping[str, Any] = {
    "RequestId": {
        "description": "The request's own X-Request-Id, or one of the server's; it stands in the log.",
        "required": True,
        "schema": {"type": "string", "examples": [_AN_ID]},
    },
    "RetryAfter": {
        "description": "Seconds after which the same request may be answered.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Allow": {"description": "The methods of this address.", "required": True, "schema": {"type": "string"}},
    "Challenge": {"description": "How a key is shown.", "required": True, "schema": {"type": "string"}},
    "RateLimit": {
        "description": "What is left of the client's quota, if there is one (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
    },
}
_STRING = {"type": "string"}
_BODIES: Mapping[str, Any] = {
    "ErrorResponse": {
        "type": "object",
        "description": "An error, whatever its status.",
        "required": ["detail", "code", "request_id"],
        "properties": {
            "detail": {"type": "string", "description": "One sentence for a person."},
            "code": {"type": "string", "description": "The same for every error of its kind."},
            "request_id": {
                "type": "string",
                "description": "The same as in the X-Request-Id header and in the server's log.",
            },
        },
    },
    "KserveError": {
        "type": "object",
        "description": "An error of the protocols V1 and V2.",
        "required": ["error"],
        "properties": {"error": {"type": "string", "description": "One sentence for a person."}},
    },
    "MlflowError": {
        "type": "object",
        "description": "An error of MLflow's protocol.",
        "required": ["error_code", "message"],
        "properties": {"error_code": _STRING, "message": {"type": "string", "description": "One sentence."}},
    },
}


def codes_of(dialect: Dialect) -> dict[int, dict[str, str]]:
    """Return the codes of each status that a prediction may be answered with, with what each means."""
    found: dict[int, dict[str, str]] = {}
    for kind, (status, code) in STATUS_OF.items():
        if dialect != "own" or kind not in _OF_DIALECTS:
            meaning = (kind.__doc__ or "").partition("\n")[0].strip()
            found.setdefault(status, {}).setdefault(code, meaning)
    for code, status in _MORE_CODES.items():
        found.setdefault(status, {})[code] = ANYWHERE.get(status, "There is nothing at this address.")
    return dict(sorted(found.items()))


def header(name: str) -> dict[str, str]:
    """Return a reference to a header of the components."""
    return {"$ref": f"#/components/headers/{name}"}


@functools.cache
def every_error(dialect: Dialect = "own") -> dict[int | str, dict[str, Any]]:
    """Return a reference to the answer of each status that a prediction may fail with."""
    return {status: _reference(dialect, status) for status in codes_of(dialect)}


@functools.cache
def refusals(dialect: Dialect = "own", *more: int) -> dict[int | str, dict[str, Any]]:
    """Return the same for the statuses that any address may answer, and for those of `more`."""
    return {status: _reference(dialect, status) for status in sorted({*ANYWHERE, *more})}


def components() -> dict[str, dict[str, Any]]:
    """Return what the references lead to: responses, headers and schemas."""
    answers = {
        f"{_NAMES[dialect]}{status}": _answer(dialect, status, codes)
        for dialect in _NAMES
        for status, codes in codes_of(dialect).items()
    }
    return {"responses": answers, "headers": dict(_HEADERS), "schemas": dict(_BODIES)}


def _reference(dialect: Dialect, status: int) -> dict[str, str]:
    form: Dialect = "own" if status in _BEFORE_ADDRESSES else dialect
    return {"$ref": f"#/components/responses/{_NAMES[form]}{status}"}


def _answer(dialect: Dialect, status: int, codes: Mapping[str, str]) -> dict[str, Any]:
    headers = {"X-Request-Id": header("RequestId")}
    if status in (429, 503):
        headers["Retry-After"] = header("RetryAfter")
    if status == 429:
        headers["RateLimit"] = header("RateLimit")
    if status == 405:
        headers["Allow"] = header("Allow")
    if status == 401:
        headers["WWW-Authenticate"] = header("Challenge")
    write = body_writer(_WRITERS[dialect])
    examples = {
        code: {"summary": text, "value": orjson.loads(write(status, text, code, _AN_ID))}
        for code, text in codes.items()
    }
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "headers": headers,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{_SCHEMAS[dialect]}"},
                "examples": examples,
            }
        },
    }
