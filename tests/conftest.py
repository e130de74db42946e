"""How tests run: those that are coroutines in a loop of their own, those that share a server on one worker."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.servers.server import ROOT

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Their tests ask the one server of tests/e2e/conftest.py, which takes ten seconds to start with all its models.
ONE_SERVER = frozenset(
    f"tests/e2e/test_{name}.py"
    for name in ("bench", "examples", "generated_clients", "load_test", "readme", "requests")
)
SHARED_SCOPES = ('scope="module"', 'scope="session"')


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Hand out tests by `group_of`; the largest groups first."""
    from xdist.scheduler import LoadScopeScheduling

    # pytest-xdist has no types.
    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)


def group_of(nodeid: str) -> str:
    """What the test must share a worker with: its file, files that use one server, or nothing but itself.

    Unit tests stay together by the file since most take milliseconds: handing them out one by one would cost more.
    """
    file = nodeid.partition("::")[0]
    if file in ONE_SERVER:
        return "one server"
    return file if file.startswith("tests/unit/") or has_shared_fixture(file) else nodeid


@functools.cache
def has_shared_fixture(file: str) -> bool:
    text = (ROOT / file).read_text(encoding="utf-8")
    return any(scope in text for scope in SHARED_SCOPES)
