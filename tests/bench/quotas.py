"""What a million clients cost in memory: `python -m tests.bench.quotas [CLIENTS]`, over HTTP, with two workers.

Each client has an address of its own, written by a proxy that is trusted (SCHWIFT_TRUSTED_HOPS).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.support.attacks.many_clients import come, memory
from tests.support.servers.server import ROOT, Server, serving, stop_on_sigterm

_CLIENTS = 1_000_000
_STEPS = 10
_WARM_UP = 20_000


def main() -> int:
    stop_on_sigterm()
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else _CLIENTS
    with tempfile.TemporaryDirectory(prefix="schwift-quotas-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "models" / "multiply", folder / "models" / "multiply")
        settings = {"MAX_REQUESTS": "250", "SCHWIFT_TRUSTED_HOPS": "1", "SCHWIFT_WORKERS": "2"}
        with serving(folder / "models", folder, **settings) as server:
            _measure(server, clients)
    return 0


def _measure(server: Server, clients: int) -> None:
    come(server, 0, _WARM_UP)
    before, began = memory(server), time.monotonic()
    for step in range(_STEPS):
        come(server, _WARM_UP + clients * step // _STEPS, _WARM_UP + clients * (step + 1) // _STEPS)
        grown = (memory(server) - before) / (1 << 20)
        seconds = time.monotonic() - began
        print(f"{clients * (step + 1) // _STEPS:>9} clients: {grown:+.1f} MiB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
