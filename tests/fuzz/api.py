"""Requests that schemathesis makes from our own OpenAPI document, against a real server."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from tests.fuzz import bodies
from tests.fuzz.oracle import Wrong, check_error, check_in_dialect, check_in_v2, check_prediction, strict
from tests.support.servers.server import Served

# Status, type, headers and body of every answer are those that the document promises.
_CHECKS: list[Any] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# What rows stand under at addresses that end so.
_KEYS = {":predict": "instances", "/invocations": "inputs"}
_INFER = "/infer"
_TIMEOUT_HEADER = "x-request-timeout-ms"


def fuzz_api(server: Served, cases: int) -> int:
    """About so many requests, half of them as the document wants them; how many were sent."""
    with requests.Session() as session:
        document = session.get(f"{server.url}/openapi.json", timeout=30).json()
        operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
        predict = [operation for operation in operations if operation.body]
        share = -(-cases // (2 * len(predict)))
        sent = 0
        for operation in operations:
            # What is only read takes nothing that could be varied, or be wrong.
            modes = list(GenerationMode) if operation in predict else [GenerationMode.POSITIVE]
            for mode in modes:
                sent += _fuzz_operation(server, session, operation, mode, share)
    return sent


def _fuzz_operation(server: Served, session: requests.Session, operation: Any, mode: GenerationMode, cases: int) -> int:
    sent = 0

    @settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def send(case: Any, data: st.DataObject) -> None:
        nonlocal sent
        sent += 1
        if operation.body or operation.path_parameters:
            # A made-up name is a model's once in a lifetime.
            _aim(case, data)
        response = case.call(base_url=server.url, session=session, timeout=30)
        case.validate_response(response, checks=_CHECKS)
        _check(response)

    send()
    return sent


def _aim(case: Any, data: st.DataObject) -> None:
    """At one of the models in three cases of four, and in half of these with a body that it takes."""
    path = case.operation.path
    # One of the models has its own path.
    own = path.rpartition("/")[2]
    name = own if own in bodies.MODELS else data.draw(st.sampled_from([None, *bodies.MODELS]))
    if name is None:
        return
    parameters = {"model_name": name, "name": name, "version": "1"}
    case.path_parameters = {key: value for key, value in parameters.items() if f"{{{key}}}" in path} or None
    if case.operation.body and case.media_type == "application/json" and data.draw(st.booleans()):
        rows = data.draw(st.lists(bodies.ROWS[name], min_size=1, max_size=5))
        key = next((key for end, key in _KEYS.items() if path.endswith(end)), "features")
        case.body = bodies.v2_request(name, rows) if path.endswith(_INFER) else {key: rows}


def _check(response: Any) -> None:
    """By the oracle, with the bytes that were sent."""
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    sent = response.request
    in_a_hurry = any(name.lower() == _TIMEOUT_HEADER for name in sent.headers)
    path = urlsplit(sent.url).path
    kind, _, model = path[1:].partition("/")
    if sent.method == "POST" and path.endswith(tuple(_KEYS)):
        _check_in_dialect(path, response, headers, in_a_hurry)
    elif kind in ("predict", "predict_batched"):
        body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
        check_prediction(unquote(model), body, response.status_code, headers, response.content, in_a_hurry)
    elif path.endswith(_INFER):
        body = bodies.sent_in_v2(sent.body)
        check_in_v2(path.split("/")[3], body, response.status_code, headers, response.content, in_a_hurry)
    elif response.status_code != 200 and kind not in ("v1", "v2", "models", "invocations", "ping"):
        check_error(response.status_code, headers, response.content)
    elif headers["content-type"] == "application/json":
        _check_read(path, strict(response.content))


def _check_in_dialect(path: str, response: Any, headers: Mapping[str, str], in_a_hurry: bool) -> None:
    sent = response.request
    found = re.fullmatch(r"/v1/models/([^/]+):predict|/models/([^/]+)/invocations", path)
    name = unquote(found[1] or found[2]) if found else None
    body = None
    if sent.headers.get("Content-Type") == "application/json":
        with contextlib.suppress(ValueError):
            body = json.loads(sent.body)
    check_in_dialect(name, body, response.status_code, headers, response.content, in_a_hurry)


def _check_read(path: str, body: Mapping[str, Any]) -> None:
    if path == "/health" and body.get("status") != "ok":
        raise Wrong(f"/health says {body}")
