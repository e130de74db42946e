"""What the adapter needs of an inference server. Everything above this line knows no Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from converter.schema.manifest import ModelEntry

# How `inside` begins where a load took too long.
LOAD_TIMEOUT = "loading took over"

Arrays = Mapping[str, npt.NDArray[Any]]


class InferenceBackend(Protocol):
    """Run models and call them.

    Every call raises an AdapterError, and ends within its `timeout` in seconds, or at its `deadline`.
    """

    async def infer(
        self,
        model: str,
        entry: ModelEntry,
        arrays: Arrays,
        deadline: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        """Make one call, and return the output tensors by name, each (rows, *dims).

        `model` is one of the two of its entry. `deadline` is a time of the running loop. `queued` says that the model
        has a queue, which is to drop the call then. `request_id` is what the model sees as the call's id.
        """

    async def states(self, timeout: float) -> Mapping[str, str]:
        """Return the state of each model that is loaded or was: `READY`, or why not.

        By `name/version`, and by `name` for whichever of its versions is ready.

        Raises: UpstreamDown if the server does not answer.
        """

    async def count_executions(self, model: str, timeout: float) -> int:
        """Return how many calls a model has ended, whoever asked for them; raise UpstreamDown without an answer."""

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        """Load or reload a model, by another config than the repository's if one is given, as JSON.

        Raises: ModelUnavailable, with the server's reason in `inside`; UpstreamDown if the server does not answer.
        """

    async def unload(self, model: str, timeout: float) -> None:
        """Unload a model, and end its processes; raise UpstreamDown if the server does not answer."""

    def abandon(self, model: str) -> None:
        """End a model's calls in flight with ModelProcessDead: the processes that had them were ended."""

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        """Have `watcher` called with each model whose process died under a call that nobody waits for any more.

        Its second argument is when that call began, by the monotonic clock.
        """

    async def metrics(self, timeout: float) -> bytes:
        """Return the server's own metrics as Prometheus text; empty if it does not answer."""

    async def close(self) -> None:
        """Close what connects the adapter with the server."""
