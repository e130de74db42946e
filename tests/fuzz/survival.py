"""What a server must be after whatever was sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.fuzz.oracle import Wrong
from tests.support.servers import pids
from tests.support.servers.asking import live, ready
from tests.support.servers.server import Server, shared_memory

# What ten thousand requests may leave behind, with what Python keeps for the next ones.
_GROWTH_MB = 48.0


@contextmanager
def surviving(server: Server) -> Iterator[None]:
    """The same adapter and the same processes of models go on, ready, no larger and without a traceback."""
    server.post("predict", "multiply", [[1.0, 2.0, 3.0]])
    adapter, stubs, segments = pids.adapter(server), sorted(pids.stubs(server)), shared_memory(server.log.parent)
    before = pids.resident(adapter)
    yield
    if pids.adapter(server) != adapter or sorted(pids.stubs(server)) != stubs:
        raise Wrong("a process ended, and another took its place")
    if not live(server) or not ready(server):
        raise Wrong("the server is not ready")
    if sorted(shared_memory(server.log.parent)) != sorted(segments):
        raise Wrong("shared memory is not as before")
    if (grown := (pids.resident(adapter) - before) / 2**20) > _GROWTH_MB:
        raise Wrong(f"the adapter grew by {grown:.0f} MiB")
    if "Traceback" in server.output or "unexpected error" in server.output:
        raise Wrong(server.output[-4000:])
