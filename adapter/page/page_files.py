"""The page and what it loads, in memory: files that have no data of any model, so that nobody needs a key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_INDEX = "index.html"
# Scripts and styles are files of ours, and nothing else is loaded, sent or shown inside another page. A form never
# sends itself: what is typed into one stays out of addresses even where the script fails.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Asked for again each time, and seldom sent again: a new release is seen at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class PageFile:
    """One file as it is sent, with the tag that says whether a browser has it already."""

    content: bytes
    media_type: str
    tag: str

    def respond(self, request: Request, vary: str | None = None) -> Response:
        """Return the file, or 304 if the request shows its tag; `vary` is what the address goes by."""
        headers = {**_HEADERS, "ETag": self.tag}
        if vary is not None:
            headers["Vary"] = vary
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def read_page_files() -> dict[str, PageFile]:
    """Read the page's files, by the paths that they are served at: `/`, and `/page/<name>` for the others."""
    found = {}
    for file in sorted((resources.files("adapter.page") / "static").iterdir(), key=lambda item: item.name):
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        path = "/" if file.name == _INDEX else f"/page/{file.name}"
        found[path] = PageFile(content, _KINDS[file.name.rpartition(".")[2]], tag)
    return found


def prefers_html(accept: str) -> bool:
    """Return whether text/html stands in Accept before (or without) JSON; `*/*`, as curl sends, means JSON."""
    names = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if "text/html" not in names:
        return False
    return "application/json" not in names or names.index("text/html") < names.index("application/json")
