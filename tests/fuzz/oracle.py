"""What every answer must be, whatever was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.fuzz.subjects import ANSWERS, expected

ERROR_KEYS = {"detail", "code", "request_id"}
# What a request can bring about by itself. The models do not raise, so 500 is a fault of ours wherever it comes from.
_CLIENTS_OWN = {400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431}
_LONGEST_DETAIL = 1024


class Wrong(AssertionError):
    """An answer that must not be."""


def strict(content: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, with no NaN and no Infinity."""

    def refuse(constant: str) -> Any:
        raise Wrong(f"{constant} in an answer")

    try:
        return json.loads(content.decode(), parse_constant=refuse)
    except ValueError as error:
        raise Wrong(f"no valid JSON: {content[:300]!r}") from error


def check_error(status: int, headers: Mapping[str, str], content: bytes, in_a_hurry: bool = False) -> None:
    """An error that is the client's own, with the body that every error has. `in_a_hurry`: it set a deadline."""
    body = strict(content)
    if not isinstance(body, dict) or set(body) != ERROR_KEYS or not all(map(_is_text, body.values())):
        raise Wrong(f"{status} with the body {content[:300]!r}")
    if len(content) > _LONGEST_DETAIL:
        raise Wrong(f"{status} with {len(content)} bytes")
    if body["request_id"] != headers.get("x-request-id", body["request_id"]):
        raise Wrong(f"two request ids: {body['request_id']} and {headers.get('x-request-id')}")
    late = in_a_hurry and status == 504 and body["code"] == "deadline_exceeded"
    if status not in _CLIENTS_OWN and not late:
        raise Wrong(f"{status} {content!r}")


def check_prediction(
    model: str, sent: bytes, status: int, headers: Mapping[str, str], content: bytes, in_a_hurry: bool = False
) -> None:
    """The right numbers for a body that was taken, or an error."""
    if status == 502 and model in ANSWERS and not _finite(expected(model, sent)):
        # What goes in is finite, and what comes out is not: the model's overflow.
        check_error(422, headers, content)
        return
    if status != 200:
        check_error(status, headers, content, in_a_hurry)
        return
    body = strict(content)
    wanted = expected(model, sent)
    if set(body) != {"model", "predictions"} or body["model"] != model or not _equal(body["predictions"], wanted):
        raise Wrong(f"{model}: {sent[:300]!r} was answered {content[:300]!r}, not {wanted!r:.300}")


def check_in_dialect(
    model: str | None, body: Any, status: int, headers: Mapping[str, str], content: bytes, in_a_hurry: bool = False
) -> None:
    """An answer in KServe V1's form or MLflow's: the right numbers for rows that were asked plainly, or an error.

    `model` and `body` are None if they are not known to be a model's and a plain one's.
    """
    answer = strict(content)
    if status == 200:
        if set(answer) != {"predictions"}:
            raise Wrong(f"200 with {content[:300]!r}")
        rows = None if not isinstance(body, dict) or len(body) != 1 else next(iter(body.values()))
        if model is not None and isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
            wanted = expected(model, json.dumps({"features": rows}).encode())
            flat = [row[0] for row in wanted] if len(wanted[0]) == 1 else wanted
            if not _equal(answer["predictions"], flat):
                raise Wrong(f"{model}: {body!r:.300} was answered {content[:300]!r}, not {flat!r:.300}")
        return
    if set(answer) not in ({"error"}, {"error_code", "message"}) or not all(map(_is_text, answer.values())):
        raise Wrong(f"{status} with the body {content[:300]!r}")
    overflows = status == 502 and model == "multiply"
    if status not in _CLIENTS_OWN and not overflows and not (in_a_hurry and status == 504):
        raise Wrong(f"{status} {content!r}")


def check_in_v2(
    model: str, rows: list[Any] | None, status: int, headers: Mapping[str, str], content: bytes, in_a_hurry: bool
) -> None:
    """An answer in V2's form: the right numbers for rows that were asked plainly, or an error. `rows` may be None."""
    answer = strict(content)
    if status != 200:
        if set(answer) != {"error"} or not _is_text(answer["error"]) or "x-request-id" not in headers:
            raise Wrong(f"{status} with the body {content[:300]!r}")
        overflows = status == 502 and model == "multiply"
        if status not in _CLIENTS_OWN and not overflows and not (in_a_hurry and status == 504):
            raise Wrong(f"{status} {content!r}")
    elif rows is not None:
        wanted = [value for row in expected(model, json.dumps({"features": rows}).encode()) for value in row]
        if not _equal(answer["outputs"][0]["data"], wanted):
            raise Wrong(f"{model}: {rows!r:.300} was answered {content[:300]!r}, not {wanted!r:.300}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _equal(got: Any, wanted: Any) -> bool:
    if got == wanted:
        return True
    # The shortest text of a float32 is another number as a float64.
    return (
        np.shape(got) == np.shape(wanted)
        and all(isinstance(value, float | int) for value in np.ravel(np.array(wanted, object)))
        and bool(np.array_equal(np.array(got, np.float32), np.array(wanted, np.float32)))
        and all(isinstance(value, float) for value in np.ravel(np.array(wanted, object)))
    )


def _finite(rows: list[Any]) -> bool:
    return all(math.isfinite(value) for row in rows for value in row if isinstance(value, float))
