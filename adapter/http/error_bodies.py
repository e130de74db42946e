"""The body of an error in the form of each dialect: one sentence for people, and what its clients look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

# Writes the body of an error: of its status, its sentence, its code and the request's id.
WriteBody = Callable[[int, str, str, str], bytes]
# The names that MLflow's clients know.
_MLFLOW_CODES: Mapping[int, str] = {
    400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST", 413: "INVALID_PARAMETER_VALUE", 415: "INVALID_PARAMETER_VALUE", 422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def write_own(status: int, detail: str, code: str, request_id: str) -> bytes:
    """Return the body that every error has in our own form."""
    return orjson.dumps({"detail": detail, "code": code, "request_id": request_id})


def write_kserve(status: int, detail: str, code: str, request_id: str) -> bytes:
    """Return the body that KServe's protocols have, V1 and V2."""
    return orjson.dumps({"error": detail})


def write_mlflow(status: int, detail: str, code: str, request_id: str) -> bytes:
    """Return the body that MLflow's scoring server has."""
    known = "MALFORMED_REQUEST" if code == "malformed_json" else _MLFLOW_CODES.get(status, "INTERNAL_ERROR")
    return orjson.dumps({"error_code": known, "message": detail})


# By the first part of an address, or the name of a dialect.
_WRITERS: Mapping[str, WriteBody] = {
    "v2": write_kserve, "v2_grpc": write_kserve, "v1": write_kserve,
    "mlflow": write_mlflow, "models": write_mlflow, "invocations": write_mlflow,
}  # fmt: skip


def body_writer(first: str) -> WriteBody:
    """Return what writes the errors of addresses whose first part is this."""
    return _WRITERS.get(first, write_own)


def first_part(path: str) -> str:
    """Return the first part of an address; empty for `*`, as OPTIONS has it, and for `/`."""
    return path[1:].partition("/")[0]
