"""HEAD wherever GET is, and pages of other origins that may ask from a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from converter.errors import ConfigError
from converter.keys.store import add_key
from converter.schema.keys_file import ApiKey, hash_key, make_key
from converter.schema.settings import load_settings
from tests.support.fakes.backend import FakeBackend
from tests.support.http.web_app import assert_error, visit

GETS = ["/health", "/health/live", "/health/ready", "/available_models", "/metrics", "/docs", "/openapi.json",
        "/v1/models", "/v1/models/m", "/ping", "/version"]  # fmt: skip
HERE, THERE = "https://page.example", "https://other.example"
ROW = {"features": [[1, 2, 3, 4]]}
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}


def asked(method: str, path: str, headers: dict[str, str] | None = None, **settings: Any) -> httpx.Response:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        body = ROW if method == "POST" else None
        return await client.request(method, path, headers=headers, json=body)

    return visit(use, FakeBackend(), **settings)


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_its_body(path: str) -> None:
    own = {"date", "x-request-id", "content-length"}
    get, head = asked("GET", path), asked("HEAD", path)
    assert (head.status_code, head.content) == (get.status_code, b"") and get.status_code == 200
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in get.headers.items() if k not in own
    }
    # What says how long a load took is of another length from server to server.
    if path not in ("/metrics", "/health", "/health/ready"):
        assert head.headers["content-length"] == get.headers["content-length"]
    assert int(head.headers["content-length"]) > 0


def test_head_of_what_is_not_there_and_of_predictions() -> None:
    assert (asked("HEAD", "/nothing").status_code, asked("HEAD", "/v1/models/x").status_code) == (404, 404)
    head = asked("HEAD", "/predict/m")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_405_names_both() -> None:
    response = asked("POST", "/health")
    assert_error(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/predict/m", "/health"])
def test_other_origins_are_not_answered_unless_settings_name_them(path: str) -> None:
    method = "POST" if path == "/predict/m" else "GET"
    response = asked(method, path, {"Origin": HERE})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = asked("OPTIONS", path, {"Origin": HERE, **ASKS})
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [HERE, f"http://localhost:3000 , {HERE}", "*"])
@pytest.mark.parametrize("path", ["/predict/m", "/v1/models/m:predict", "/invocations", "/available_models"])
def test_a_preflight_is_answered(origins: str, path: str) -> None:
    response = asked("OPTIONS", path, {"Origin": HERE, **ASKS}, cors_origins=origins)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == ("*" if origins == "*" else HERE)
    assert response.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "x-api-key", "authorization", "x-request-timeout-ms"} <= set(allowed)
    assert response.headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers.get("vary", "") == ("" if origins == "*" else "origin")


@pytest.mark.parametrize("headers", [{"Origin": THERE, **ASKS}, {"Origin": HERE}, {}])
def test_other_options_are_405(headers: dict[str, str]) -> None:
    response = asked("OPTIONS", "/health", headers, cors_origins=HERE)
    assert_error(response, 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/predict/m", 200), ("POST", "/predict_batched/m", 200), ("POST", "/predict/x", 404),
     ("GET", "/health", 200), ("HEAD", "/health", 200), ("GET", "/nothing", 404)],
)  # fmt: skip
def test_answers_and_errors_may_be_read_by_the_origins_named(method: str, path: str, status: int) -> None:
    response = asked(method, path, {"Origin": HERE}, cors_origins=HERE)
    assert response.status_code == status
    assert response.headers.get_list("access-control-allow-origin") == [HERE]
    assert "x-request-id" in response.headers["access-control-expose-headers"].lower()
    assert "origin" in response.headers["vary"]
    other = asked(method, path, {"Origin": THERE}, cors_origins=HERE)
    assert other.status_code == status
    assert "access-control-allow-origin" not in other.headers
    assert "origin" in other.headers["vary"]


def test_a_preflight_needs_no_key_and_the_request_does(tmp_path: Path) -> None:
    key = make_key()
    file = tmp_path / "keys.json"
    add_key(file, ApiKey.model_validate({"name": "k", "sha256": hash_key(key), "created": "2026-01-01T00:00:00Z",
                                         "predict": True}))  # fmt: skip
    keys = {"api_keys_file": file, "cors_origins": HERE}
    assert asked("OPTIONS", "/predict/m", {"Origin": HERE, **ASKS}, **keys).status_code == 204
    refused = asked("POST", "/predict/m", {"Origin": HERE}, **keys)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, HERE)
    refused = asked("GET", "/health", {"Origin": HERE}, **keys)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, HERE)
    assert asked("POST", "/predict/m", {"Origin": HERE, "X-API-Key": key}, **keys).status_code == 200


@pytest.mark.parametrize(
    "value", ["page.example", "https://page.example/", "https://*.example", "*, https://a.b", "null"]
)
def test_what_is_no_origin_is_a_config_error(value: str) -> None:
    with pytest.raises(ConfigError, match="SCHWIFT_CORS_ORIGINS"):
        load_settings(None, cors_origins=value)
