"""Our application with the models in its own process, no Triton: what the JSON alone costs.

Run as `python -m tests.bench.rig.inprocess PORT REPOSITORY`; it serves the models of tests/bench/rig/models.py
that lie beside the repository, in `models/`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uvicorn

from adapter.app import create_app
from adapter.backend.protocol import Arrays
from adapter.sharing import SharedState
from converter.schema.manifest import ModelEntry, read_manifest
from converter.schema.settings import load_settings
from tests.bench.rig.models import BenchModel, known


class InProcess:
    """An InferenceBackend whose models are functions of this process."""

    def __init__(self, models: Sequence[BenchModel]) -> None:
        functions = {model.name: model.load() for model in models}
        # The front is the same here: the adapter asks it now and then whether it lives.
        self._functions = functions | {f"{name}_direct": function for name, function in functions.items()}

    async def infer(
        self,
        model: str,
        entry: ModelEntry,
        arrays: Arrays,
        deadline: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        return {entry.outputs[0].name: self._functions[model](arrays[entry.inputs[0].name])}

    async def states(self, timeout: float) -> Mapping[str, str]:
        # The first version, as in a new repository.
        return {f"{name}/1": "READY" for name in self._functions}

    async def count_executions(self, model: str, timeout: float) -> int:
        return 0

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        pass

    async def unload(self, model: str, timeout: float) -> None:
        pass

    def abandon(self, model: str) -> None:
        pass

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        pass

    async def metrics(self, timeout: float) -> bytes:
        return b""

    async def close(self) -> None:
        pass


def main(port: int, repository: Path) -> None:
    settings = load_settings(None, repository=repository)
    models = known(repository.parent / "models")
    manifest = read_manifest(repository)
    sharing = SharedState([entry.name for entry in manifest.models])
    app = create_app(settings, manifest, InProcess(models), sharing)
    # uvicorn as it comes: its own HTTP protocol, and uvloop.
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="on")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
