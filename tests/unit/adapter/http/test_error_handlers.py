"""The table of errors, and the body that every error has."""

from __future__ import annotations

import inspect
import json
import logging
import math

import pytest

from adapter import errors
from adapter.error_codes import STATUS_OF
from adapter.http.error_bodies import first_part
from adapter.http.error_handlers import to_response
from adapter.http.openapi.error_answers import components, every_error

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.AdapterError) and kind.__module__ == errors.__name__
]
# A class that others derive from is a heading of the tree, and never raised itself.
CONCRETE = [kind for kind in ALL if not kind.__subclasses__()]


def test_the_tree_has_classes() -> None:
    assert len(CONCRETE) >= 17
    assert errors.BadFeatures in CONCRETE
    assert errors.TryLater not in CONCRETE


@pytest.mark.parametrize("kind", CONCRETE)
def test_every_concrete_error_has_a_status(kind: type[errors.AdapterError]) -> None:
    assert kind in STATUS_OF, f"{kind.__name__} needs a row in adapter.http.error_handlers.STATUS_OF"


def test_the_table_has_no_heading_and_no_code_twice() -> None:
    assert set(STATUS_OF) <= set(CONCRETE)
    codes = [code for _, code in STATUS_OF.values()]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace("_", "").isalpha() for code in codes)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (errors.MalformedJson, 400, "malformed_json"),
        (errors.UnknownModel, 404, "unknown_model"),
        (errors.BodyTooLarge, 413, "body_too_large"),
        (errors.UnsupportedMedia, 415, "unsupported_media_type"),
        (errors.BadFeatures, 422, "bad_features"),
        (errors.AlreadyBatched, 422, "already_batched"),
        (errors.QuotaExceeded, 429, "quota_exceeded"),
        (errors.ModelFailed, 500, "model_error"),
        (errors.BadModelOutput, 502, "bad_model_output"),
        (errors.Overloaded, 503, "overloaded"),
        (errors.UpstreamDown, 503, "upstream_down"),
        (errors.DeadlineExceeded, 504, "deadline_exceeded"),
    ],
)
def test_the_statuses_that_clients_rely_on(kind: type[errors.AdapterError], status: int, code: str) -> None:
    response = to_response(kind("A sentence."), "id-1")
    assert response.status_code == status
    assert json.loads(bytes(response.body))["code"] == code


@pytest.mark.parametrize("kind", CONCRETE)
def test_the_body_has_three_fields_and_nothing_of_the_inside(
    kind: type[errors.AdapterError], caplog: pytest.LogCaptureFixture
) -> None:
    inside = "/srv/models/m.pkl: Traceback: shm_key_7"
    with caplog.at_level(logging.WARNING, "schwift.adapter"):
        response = to_response(kind("A sentence.", inside), "id-1")
    body = json.loads(bytes(response.body))
    assert body == {"detail": "A sentence.", "code": STATUS_OF[kind][1], "request_id": "id-1"}
    assert response.headers["content-type"] == "application/json"
    assert "srv" not in str(response.raw_headers)
    # The log is where it goes, under the same id.
    assert f"request id-1: {STATUS_OF[kind][0]}" in caplog.text
    assert inside in caplog.text


@pytest.mark.parametrize("kind", CONCRETE)
@pytest.mark.parametrize("seconds", [-3.0, 0.0, 0.01, 1.0, 1.2, 29.5, 60.0])
def test_retry_after_is_whole_seconds_rounded_up(kind: type[errors.AdapterError], seconds: float) -> None:
    error = kind("A sentence.")
    if isinstance(error, errors.TryLater):
        error.retry_after = seconds
        assert to_response(error, "").headers["retry-after"] == str(max(1, math.ceil(seconds)))
    else:
        assert "retry-after" not in to_response(error, "").headers


def test_exactly_the_try_later_errors_are_429_and_503() -> None:
    later = {kind for kind in CONCRETE if issubclass(kind, errors.TryLater)}
    assert later == {kind for kind, (status, _) in STATUS_OF.items() if status in (429, 503)}


def test_the_openapi_document_lists_every_status_with_its_codes() -> None:
    # Two are the framework's own, and two are of other dialects.
    wanted = {(405, "method_not_allowed"), (404, "not_found"), *STATUS_OF.values()}
    wanted -= {STATUS_OF[errors.BadTensor], STATUS_OF[errors.SchemaMismatch]}
    answers = components()["responses"]
    documented = set()
    for status, reference in every_error().items():
        answer = answers[reference["$ref"].rpartition("/")[2]]
        examples = answer["content"]["application/json"]["examples"]
        assert all(example["value"]["code"] == code for code, example in examples.items())
        documented |= {(status, code) for code in examples}
        assert ("Retry-After" in answer["headers"]) == (status in (429, 503))
    assert documented == wanted


@pytest.mark.parametrize(
    ("path", "first"), [("*", ""), ("", ""), ("/", ""), ("/v1", "v1"), ("/v2/models/m/infer", "v2"), ("//v2", "")]
)
def test_an_address_says_whose_form_an_error_has(path: str, first: str) -> None:
    assert first_part(path) == first
