"""Processes that outlive the unloading of their model, watched and ended.

The pinned Triton never lets go of a call whose process died, and the call holds its model: when that is unloaded, its
other processes stay, though nobody can reach them any more. They are left some time, for calls that are still in them,
and then they are ended by whoever owns them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from converter.schema.manifest import ModelEntry

# Beyond the deadline of requests.
_GRACE_SECONDS = 1.0
# For what was unloaded in good order: calls of native clients may be in it, which have no deadline of ours.
_ORDERLY_SECONDS = 600.0
# A front that is killed while it waits for the model can take Triton with it: it must have seen the model's end.
_NOTICE_SECONDS = 2.0


@dataclass(frozen=True)
class Processes:
    """The process ids of one source model: those of the model itself, and those of its front."""

    models: tuple[int, ...] = ()
    fronts: tuple[int, ...] = ()

    def without(self, others: Processes) -> Processes:
        """Return the processes that are not among `others`."""
        return Processes(
            tuple(pid for pid in self.models if pid not in others.models),
            tuple(pid for pid in self.fronts if pid not in others.fronts),
        )


@dataclass
class _Left:
    """Processes that were unloaded together; each kind is ended once its time has come."""

    models: tuple[int, ...]
    fronts: tuple[int, ...]
    models_due: float
    fronts_due: float


@dataclass(eq=False)
class Reaper:
    """Ends the processes that outlive the unloading of their model, after some time for the calls in them.

    `_deadline` is that of requests, in seconds. If Triton does not run below `schwift serve`, nothing is done.
    """

    _stubs: StubProcesses | None
    _supervisor: SupervisorPipe | None
    _deadline: float
    _clock: Callable[[], float] = time.monotonic
    _left: list[_Left] = field(default_factory=list, init=False)

    async def processes(self, entry: ModelEntry, used: Collection[str] = ()) -> Processes:
        """Find the processes that an entry has now, but for its Triton models that are `used` on.

        They are for `unloaded`, once Triton has unloaded those models. None are found if Triton runs elsewhere.
        """
        if self._stubs is None:
            return Processes()
        await asyncio.to_thread(self._stubs.scan)
        direct, front = ([name] if name and name not in used else [] for name in (entry.direct, entry.front))
        return Processes(self._stubs.of(direct), self._stubs.of(front))

    def unloaded(self, processes: Processes, orderly: bool = False) -> None:
        """Watch processes that Triton was told to unload. `orderly`: as far as is known, none of them died."""
        if self._stubs is None:
            return
        models, fronts = processes.models, processes.fronts
        self._stubs.retire([*models, *fronts])
        patience = self._deadline + _GRACE_SECONDS
        due = self._clock() + (max(_ORDERLY_SECONDS, patience) if orderly else patience)
        self._left.append(_Left(models, fronts, due, due))

    def end_due(self) -> None:
        """Have the processes ended whose time is over; to be called every moment."""
        if self._stubs is None:
            return
        now = self._clock()
        for left in self._left:
            left.models, left.fronts = self._living(left.models), self._living(left.fronts)
            if left.models and now >= left.models_due:
                self._end(left.models)
                left.fronts_due = now + _NOTICE_SECONDS
            elif now >= left.fronts_due:
                self._end(left.fronts)
        self._left = [left for left in self._left if left.models or left.fronts]

    def _living(self, pids: Iterable[int]) -> tuple[int, ...]:
        assert self._stubs is not None
        return tuple(pid for pid in pids if self._stubs.retired(pid))

    def _end(self, pids: Iterable[int]) -> None:
        if self._supervisor is not None:
            for pid in pids:
                # Asked for again until it is gone.
                self._supervisor.end(pid)
