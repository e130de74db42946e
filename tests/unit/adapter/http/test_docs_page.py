"""The page of /docs shows without the internet: all that it loads is here."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.support.http.web_app import assert_error, get, visit


def test_the_page_names_no_other_host_and_what_it_loads_is_served() -> None:
    async def use(client: httpx.AsyncClient) -> None:
        page = await client.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert not re.search(r"(https?:)?//\w", page.text)
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(r"url: '([^']+)'", page.text)
        kinds = {}
        for address in loaded:
            answer = await client.get(page.url.join(address))
            assert answer.status_code == 200 and answer.content
            kinds[answer.headers["content-type"].partition(";")[0]] = address
        assert set(kinds) == {"text/javascript", "text/css", "image/png", "application/json"}

    visit(use)


def test_its_script_reads_documents_of_our_version() -> None:
    assert get("/openapi.json").json()["openapi"].startswith("3.1.")
    # Swagger UI does from version 5 on.
    assert re.search(r'PACKAGE_VERSION:"([5-9]|\d\d+)\.', get("/docs/swagger-ui-bundle.js").text)


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui.css"])
def test_it_has_a_head_and_is_not_posted_to(path: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        assert (await client.head(path)).status_code == 200
        refused = await client.post(path)
        assert_error(refused, 405, "method_not_allowed")
        assert "GET" in refused.headers["allow"]

    visit(use)


@pytest.mark.parametrize("path", ["/docs/", "/docs/x.js", "/docs/..%2f__init__.py", "/redoc"])
def test_nothing_else_is_there(path: str) -> None:
    assert_error(get(path), 404, "not_found")
