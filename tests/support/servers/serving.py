"""A server for one test, as tests/e2e has it, that ends without the seconds that Triton takes to unload.

Those are 4, and 10 once a process of a model was killed. How a server ends by itself is what test_shutdown.py is about.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import pids
from tests.support.servers import server as e2e
from tests.support.servers.server import Server


@contextmanager
def serving(models: Path | None, folder: Path, *options: str, **settings: str) -> Iterator[Server]:
    """For the length of a test; it must end with 0 and leave nothing."""
    with e2e.serving(models, folder, *options, **settings) as server:
        try:
            yield server
        finally:
            _end(server)


def _end(server: Server) -> None:
    """Tell it to end, and kill its Triton as soon as the adapter has finished what it accepted."""
    adapters, tritons = pids.adapters(server), pids.tritons(server)
    server.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(AssertionError):
        # Where it does not end, the server's own bounds hold.
        e2e.wait_for(lambda: not any(pids.alive(pid) for pid in adapters), 20)
        for pid in tritons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
