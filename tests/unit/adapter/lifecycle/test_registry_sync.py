"""Workers that do not lead: what they answer before their reconciler has heard of the models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.app import create_app
from adapter.http.asgi import PredictShortCut
from adapter.sharing import SharedState
from converter.schema.settings import Settings
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_reconciler, make_sync
from tests.support.lifecycle.served_models import make_registry

MANIFEST = make_manifest(make_entry("a"))
BODY = {"features": [[1, 2, 3, 4]]}


class Workers:
    """Two: the one that leads, and the application of the other, beside which nothing runs."""

    def __init__(self, folder: Path) -> None:
        sharing, backend = SharedState(["a"], workers=2), FakeBackend()
        self.leading = make_registry(MANIFEST, sharing.table, 0)
        self.registry_sync = make_sync(self.leading, sharing.snapshot)
        self.reconciler = make_reconciler(self.leading, backend, registry_sync=self.registry_sync)
        settings = Settings(repository=folder, workers=2)
        self.app: PredictShortCut = create_app(settings, MANIFEST, backend, sharing, 1)

    async def load(self) -> None:
        await self.reconciler.reconcile()
        await self.reconciler.wait_idle()

    async def ask(self, method: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, json=BODY if method == "POST" else None)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    yield Workers(tmp_path)


async def test_the_other_worker_is_ready_from_the_moment_on_in_which_the_leading_one_is(workers: Workers) -> None:
    for method, path in (("POST", "/predict/a"), ("GET", "/health/ready"), ("GET", "/health")):
        assert (await workers.ask(method, path)).status_code == 503
    await workers.load()
    assert workers.leading.ready
    answer = await workers.ask("POST", "/predict/a")
    assert (answer.status_code, answer.json()["model"]) == (200, "a")


async def test_metrics_are_those_of_what_the_leading_worker_knows(workers: Workers) -> None:
    await workers.load()
    assert 'schwift_model_ready{model_name="a"} 1.0' in (await workers.ask("GET", "/metrics")).text


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/available_models"])
async def test_each_page_says_what_the_leading_worker_knows(workers: Workers, path: str) -> None:
    await workers.load()
    answer = await workers.ask("GET", path)
    assert answer.status_code == 200
    models = answer.json()["models"]
    assert (models["a"] if isinstance(models, dict) else models[0])["state"] == "ready"


async def test_a_model_that_a_reload_added_is_known_from_the_moment_on_in_which_it_is_served(workers: Workers) -> None:
    assert (await workers.ask("POST", "/predict/b")).status_code == 404
    await workers.load()
    workers.leading.replace([make_entry("b")])
    workers.registry_sync.publish()
    answer = await workers.ask("POST", "/predict/b")
    assert (answer.status_code, answer.json()["model"]) == (200, "b")


def test_who_leads_does_not_follow_its_own_words() -> None:
    registry = make_registry(MANIFEST)
    registry_sync = make_sync(registry)
    model = registry.models["a"]
    model.status.adopt("ready")
    registry_sync.publish()
    # Not told yet.
    model.status.adopt("recovering")
    registry_sync.catch_up()
    assert model.status.state == "recovering"
