"""An InferenceBackend in memory: a handler answers, and the test reads back what was called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapter import errors
from adapter.backend.protocol import Arrays
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry, Tensor

Handler = Callable[[str, Arrays, Sequence[Tensor]], Awaitable[Arrays]]


@dataclass(frozen=True)
class Call:
    """One `infer`: which Triton model, with what, how many seconds it was given, and under which id."""

    model: str
    arrays: Arrays
    timeout: float
    request_id: str = ""


async def zeros(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    """The default handler: zeros of the promised shape and dtype, a free axis of 1."""
    rows = len(next(iter(arrays.values())))
    return {
        tensor.name: np.zeros((rows, *(abs(size) for size in tensor.dims)), dtypes.by_name(tensor.dtype).numpy)
        for tensor in outputs
    }


@dataclass
class FakeBackend:
    """Up, and with nothing loaded. `load_errors` are raised as often as their model is loaded."""

    handler: Handler = zeros
    up: bool = True
    loaded: dict[str, str] = field(default_factory=dict)
    # The version that is loaded of each model, where it is not 1.
    versions: dict[str, int] = field(default_factory=dict)
    load_errors: dict[str, Exception] = field(default_factory=dict)
    own_metrics: bytes = b""
    calls: list[Call] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    # What models were loaded by in the place of the repository's configs.
    configs: dict[str, str] = field(default_factory=dict)
    unloads: list[str] = field(default_factory=list)
    # How many calls each model has ended, of whoever's.
    executions: dict[str, int] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    tell_of_death: Callable[[str, float], None] = lambda model, began: None
    closed: bool = False

    async def infer(
        self,
        model: str,
        entry: ModelEntry,
        arrays: Arrays,
        deadline: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        """As Triton would: a deadline, and DeadlineExceeded where the handler misses it."""
        timeout = deadline - asyncio.get_running_loop().time()
        self.calls.append(Call(model, arrays, timeout, request_id))
        if timeout <= 0:
            raise errors.DeadlineExceeded("The request did not finish within its deadline.")
        try:
            answer = await asyncio.wait_for(self.handler(model, arrays, entry.outputs), timeout)
            self.executions[model] = self.executions.get(model, 0) + 1
            return answer
        except asyncio.TimeoutError as error:
            raise errors.DeadlineExceeded("The request did not finish within its deadline.") from error

    async def states(self, timeout: float) -> Mapping[str, str]:
        self._check_up()
        by_version = {f"{name}/{self.versions.get(name, 1)}": state for name, state in self.loaded.items()}
        return {**self.loaded, **by_version}

    async def count_executions(self, model: str, timeout: float) -> int:
        self._check_up()
        self.counted.append(model)
        return self.executions.get(model, 0)

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        self.loads.append(model)
        if config is not None:
            self.configs[model] = config
        self._check_up()
        if model in self.load_errors:
            raise self.load_errors[model]
        self.loaded[model] = "READY"

    async def unload(self, model: str, timeout: float) -> None:
        self.unloads.append(model)
        self._check_up()
        self.loaded.pop(model, None)

    def abandon(self, model: str) -> None:
        self.abandoned.append(model)

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        self.tell_of_death = watcher

    async def metrics(self, timeout: float) -> bytes:
        return self.own_metrics

    async def close(self) -> None:
        self.closed = True

    def restart(self) -> None:
        """Triton is up again, and has forgotten every model."""
        self.up = True
        self.loaded.clear()

    def _check_up(self) -> None:
        if not self.up:
            raise errors.UpstreamDown("The inference server does not answer; try again shortly.")
