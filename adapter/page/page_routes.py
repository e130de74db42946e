"""The addresses of the page: its files, and two for its numbers, which need a key that reads where keys are on."""

from __future__ import annotations

import functools
from collections.abc import Callable

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapter.errors import UnknownModel
from adapter.lifecycle.registry import Registry
from adapter.page.live_numbers import LiveNumbers, describe_for_callers
from adapter.page.page_files import PageFile, prefers_html

_NO_STORE = {"Cache-Control": "no-store"}
# What KServe's V1 clients ask for at the root.
_ALIVE = b'{"status":"alive"}'


def page_router(
    files: dict[str, PageFile], registry: Registry, numbers: LiveNumbers, catch_up: Callable[[], None]
) -> APIRouter:
    """Make the routes of the page. `catch_up` takes over what another worker knows of the models."""
    router = APIRouter(include_in_schema=False)

    async def send(file: PageFile, request: Request) -> Response:
        return file.respond(request)

    async def root(request: Request) -> Response:
        if prefers_html(request.headers.get("accept", "")):
            return files["/"].respond(request, vary="Accept")
        return Response(_ALIVE, headers={**_NO_STORE, "Vary": "Accept"}, media_type="application/json")

    async def live(request: Request) -> Response:
        catch_up()
        asked = request.query_params
        return _as_json(await numbers.read(asked.get("models", "").split(","), asked.get("known", "")))

    async def model(request: Request) -> Response:
        catch_up()
        asked = registry.models.get(request.path_params["name"])
        if asked is None:
            raise UnknownModel("No model has this name: see /available_models.")
        return _as_json(describe_for_callers(asked))

    for path, file in files.items():
        router.add_route(path, root if path == "/" else functools.partial(send, file), include_in_schema=False)
    router.add_route("/page/live", live, include_in_schema=False)
    router.add_route("/page/model/{name}", model, include_in_schema=False)
    return router


def _as_json(body: object) -> Response:
    return Response(orjson.dumps(body), headers=_NO_STORE, media_type="application/json")
