"""The page's shell: what is served, to whom, and what it may load."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from adapter.limits.access_policy import FREE, READ, policy
from adapter.page.page_files import read_page_files
from tests.support.http.web_app import assert_error, get, visit

ROOT = Path(__file__).resolve().parents[4]
FILES = read_page_files()
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def test_every_file_of_the_folder_is_served_under_its_kind() -> None:
    names = {file.name for file in (ROOT / "adapter" / "page" / "static").iterdir()}
    assert {path.removeprefix("/page/") for path in FILES} == names - {"index.html"} | {"/"}

    async def use(client: httpx.AsyncClient) -> None:
        for path in FILES:
            answer = await client.get(path, headers=BROWSER)
            kind = KINDS["html" if path == "/" else path.rpartition(".")[2]]
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
            assert answer.content == FILES[path].content
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            head = await client.head(path, headers=BROWSER)
            assert (head.status_code, head.content) == (200, b"")

    visit(use)


def test_the_policy_has_no_word_that_loosens_it() -> None:
    policy_text = get("/", headers=BROWSER).headers["content-security-policy"]
    assert "unsafe" not in policy_text and "*" not in policy_text and ":" not in policy_text
    assert {"form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy_text.split("; "))


def test_its_files_are_free_and_its_numbers_are_not() -> None:
    assert {path for path in FILES if policy(path.encode()) is not FREE} == set()
    for path in (
        "/page/live",
        "/page/model/m",
        "/page/",
        "/page",
        "/page/app.js/",
        "/page/nothing.js",
        "//",
        "/index.html",
    ):
        assert policy(path.encode()) == READ, path


def test_it_loads_what_is_served_here_by_relative_addresses_and_has_nothing_inline() -> None:
    index = FILES["/"].content.decode()
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]+)"', index)
    pages = {"docs", "health", "metrics", "available_models"}
    assert {f"/{address}" for address in loaded if address not in pages} <= set(FILES)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", index)
    for path, file in FILES.items():
        text = file.content.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
        for imported in re.findall(r'from "\./([\w.]+)"', text):
            assert f"/page/{imported}" in FILES


def test_the_same_page_is_what_browsers_get_of_available_models() -> None:
    page = get("/available_models", headers={"Accept": "text/html"})
    assert page.content == FILES["/"].content
    assert page.headers["vary"] == "Accept, Accept-Encoding"
    assert page.headers["content-security-policy"] == get("/", headers=BROWSER).headers["content-security-policy"]


def test_a_program_gets_what_kserve_s_v1_answers_at_the_root() -> None:
    """KServe's client takes that for a live server; only who asks for HTML is shown the page."""
    for accept in ("*/*", "application/json", "application/json, text/html"):
        answer = get("/", headers={"Accept": accept})
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")
        assert answer.headers["vary"] == "Accept"
    assert get("/", headers=BROWSER).headers["vary"] == "Accept, Accept-Encoding"


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    tag = get("/page/app.js").headers["etag"]
    again = get("/page/app.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = get("/page/app.js", headers={"If-None-Match": '"0"'})
    assert (other.status_code, other.content) == (200, FILES["/page/app.js"].content)


@pytest.mark.parametrize(
    "path", ["/page", "/page/", "/page/index.html", "/page/..%2f__init__.py", "/page/app.js/", "/page/model/"]
)
def test_nothing_else_is_there(path: str) -> None:
    assert_error(get(path), 404, "not_found")


def test_no_file_is_long() -> None:
    assert {path: count for path, file in FILES.items() if (count := file.content.count(b"\n")) >= 400} == {}
