"""The whole application over an in-process transport, with a fake backend behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from adapter.app import create_app
from adapter.http.access_guard import AccessGuard
from adapter.http.asgi import PredictShortCut
from adapter.http.semantics.cross_origin import CrossOriginAnswers
from adapter.request_timings import Traces
from adapter.sharing import SharedState
from converter.schema.manifest import ModelEntry
from converter.schema.settings import load_settings
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_manifest

T = TypeVar("T")
Use = Callable[[httpx.AsyncClient], Awaitable[T]]


def make_app(
    backend: FakeBackend, *entries: ModelEntry, traces: Traces | None = None, **settings: Any
) -> PredictShortCut:
    """The application of one worker alone."""
    manifest = make_manifest(*entries)
    sharing = SharedState([entry.name for entry in manifest.models])
    return create_app(load_settings(None, **settings), manifest, backend, sharing, traces=traces)


def framework(app: PredictShortCut) -> FastAPI:
    """The framework behind the short cut; its lifespan is the application's."""
    inner = app.app
    if isinstance(inner, CrossOriginAnswers):
        inner = inner.app
    if isinstance(inner, AccessGuard):
        inner = inner.app
    assert isinstance(inner, FastAPI)
    return inner


@contextlib.asynccontextmanager
async def running(app: PredictShortCut) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the started application; the reconciler has made its first pass."""
    # As a server does: an unexpected error is answered and logged, and does not reach the client.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.1", 1234))
    async with (
        framework(app).router.lifespan_context(framework(app)),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        for _ in range(50):
            await asyncio.sleep(0)
        yield client


def visit(use: Use[T], backend: FakeBackend | None = None, *entries: ModelEntry, **settings: Any) -> T:
    """Run `use` against an application of these models, all of them loaded unless the backend fails to."""

    async def main() -> T:
        async with running(make_app(backend or FakeBackend(), *entries, **settings)) as client:
            return await use(client)

    return asyncio.run(main())


def post(
    path: str,
    features: Any = None,
    backend: FakeBackend | None = None,
    *entries: ModelEntry,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
    **settings: Any,
) -> httpx.Response:
    """One POST of `{"features": …}`, or of `content` as it is."""

    body = json.dumps({"features": features}).encode() if content is None else content
    sent = {"Content-Type": "application/json", **(headers or {})}

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        # As bytes, since a hostile client does not stop at ASCII.
        return await client.post(path, content=body, headers={k.encode(): v.encode() for k, v in sent.items()})

    return visit(use, backend, *entries, **settings)


def get(
    path: str,
    backend: FakeBackend | None = None,
    *entries: ModelEntry,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> httpx.Response:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path, headers=headers)

    return visit(use, backend, *entries, **settings)


def assert_error(response: httpx.Response, status: int, code: str) -> str:
    """The status, and a body of exactly the three fields; returns its detail."""
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code)
    assert set(body) == {"detail", "code", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"] != ""
    assert response.headers["content-type"] == "application/json"
    assert len(body["detail"].encode()) <= 1024
    assert ("retry-after" in response.headers) == (status in (429, 503))
    detail: str = body["detail"]
    assert detail
    return detail
