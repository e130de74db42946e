"""What the adapter needs of an inference server. Everything above this line knows no Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from converter.schema.manifest import Tensor

# How `inside` begins where a load took too long.
LOAD_TIMEOUT = "loading took over"

Arrays = Mapping[str, npt.NDArray[Any]]


class InferenceBackend(Protocol):
    """Every call raises an AdapterError, and ends within its `timeout` in seconds, or at its `deadline`."""

    async def infer(
        self,
        model: str,
        inputs: Sequence[Tensor],
        arrays: Arrays,
        outputs: Sequence[Tensor],
        deadline: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        """One call: the output tensors by name, each (rows, *dims).

        `deadline` is a time of the running loop. `queued`: the model has a queue, which is to drop the call then.
        `request_id` is what the model sees as the call's id.
        """

    async def states(self, timeout: float) -> Mapping[str, str]:
        """Each model that is loaded or was: `READY`, or why not. UpstreamDown if the server does not answer.

        By `name/version`, and by `name` for whichever of its versions is ready.
        """

    async def load(self, model: str, timeout: float) -> None:
        """Load or reload a model. ModelUnavailable with the server's reason in `inside`."""

    async def unload(self, model: str, timeout: float) -> None:
        """Unload a model, and end its processes. UpstreamDown if the server does not answer."""

    def abandon(self, model: str) -> None:
        """The processes that had this model's calls were ended: ModelProcessDead to those that are in flight still."""

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        """Tell it of each model whose process turned out to be dead when nobody waited for its call any more.

        And when that call began, by the monotonic clock.
        """

    async def metrics(self, timeout: float) -> bytes:
        """The server's own metrics as Prometheus text; empty if it does not answer."""

    async def close(self) -> None: ...
