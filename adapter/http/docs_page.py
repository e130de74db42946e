"""Serve the page of /docs with its script and style from a package, so that it shows without the internet too."""

from __future__ import annotations

import functools
from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, Response

_FOLDER = resources.files("fastapi_swagger") / "resources"
_SCRIPT, _STYLE, _ICON = _FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")


def add_docs_page(app: FastAPI) -> None:
    """Add /docs and its files to an application, by addresses that hold behind a proxy's prefix too."""
    page = get_swagger_ui_html(
        title=app.title,
        openapi_url="openapi.json",
        swagger_js_url=f"docs/{_SCRIPT}",
        swagger_css_url=f"docs/{_STYLE}",
        swagger_favicon_url=f"docs/{_ICON}",
        # It would have the document checked by a server elsewhere.
        swagger_ui_parameters={"validatorUrl": None},
    )

    async def show(request: Request) -> Response:
        return page

    app.add_route("/docs", show, include_in_schema=False)
    for name in _FILES:
        app.add_route(f"/docs/{name}", functools.partial(_send_file, name), include_in_schema=False)


async def _send_file(name: str, request: Request) -> Response:
    return FileResponse(str(_FOLDER / name))
