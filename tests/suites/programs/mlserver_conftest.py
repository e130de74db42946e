"""Fixtures in the place of those that MLServer has for its REST tests: its client asks the server at SUITES_URL.

The model is `sum-model`, as in its tests; what they compare with is what this server says of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest
from httpx import AsyncClient
from mlserver import ModelSettings
from mlserver.types import MetadataTensor

from ..conftest import TESTDATA_PATH


@pytest.fixture
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
async def rest_client(sum_model: object, settings: object) -> AsyncIterator[AsyncClient]:
    """Take what the tests of `generate` give their server by these names."""
    async with AsyncClient(base_url=os.environ["SUITES_URL"]) as client:
        yield client


@pytest.fixture
def sum_model() -> SimpleNamespace:
    return SimpleNamespace(name="sum-model", version="1")


@pytest.fixture
def sum_model_settings() -> ModelSettings:
    made = ModelSettings.parse_file(os.path.join(TESTDATA_PATH, "model-settings.json"))
    made.platform, made.versions = "python", ["1"]
    made.inputs = [MetadataTensor(name="input-0", datatype="INT32", shape=[-1, 3])]
    return made


@pytest.fixture
def logger_setup() -> None:
    """No server of MLServer runs here that would log."""
