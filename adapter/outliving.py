"""Processes that nobody can reach any more, found and ended: of models that outlive their unloading.

The pinned Triton never lets go of a call whose process died, and the call holds its model: when that is unloaded, its
other processes stay. They are left the time that a request may take, for calls that are still in them, and then they
are ended by whoever owns them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from adapter.stubs import Stubs, Supervisor

# Beyond the deadline of requests.
_GRACE_SECONDS = 1.0


class Outliving:
    """`deadline` of requests, in seconds. Where Triton does not run below `schwift serve`, nothing is ended."""

    def __init__(
        self,
        stubs: Stubs | None,
        supervisor: Supervisor | None,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stubs = stubs
        self._supervisor = supervisor
        self._patience = deadline + _GRACE_SECONDS
        self._clock = clock
        # Since when each is one too many.
        self._since: dict[int, float] = {}

    @property
    def due(self) -> bool:
        """Whether the time of one is over, so that it is to be looked at again."""
        return any(self._clock() - since >= self._patience for since in self._since.values())

    def unloading(self, models: Iterable[str]) -> None:
        """These Triton models are about to be unloaded: their time runs from now on."""
        if self._stubs is not None:
            for pid in self._stubs.of(models):
                self._since.setdefault(pid, self._clock())

    def look(self, states: Mapping[str, str], busy: Collection[str]) -> None:
        """Of the processes that `stubs` found just now, end those that were too many for long enough.

        `states` are Triton's, from before they were looked for; `busy` are Triton models that are being loaded.
        """
        if self._stubs is None or self._supervisor is None:
            return
        now, before, self._since = self._clock(), self._since, {}
        for model in self._stubs.models:
            loading = model in busy or _loading(model, states)
            idle = self._stubs.of([model]) if states.get(model) != "READY" else self._stubs.superseded(model)
            for pid in self._stubs.of([model]):
                if loading and pid in before:
                    # Cannot be told now.
                    self._since[pid] = before[pid]
                elif not loading and pid in idle:
                    self._since[pid] = before.get(pid, now)
                    # Not at first sight: its load may have begun after the states were asked for.
                    if pid in before and now - before[pid] >= self._patience:
                        self._supervisor.end(pid)


def _loading(model: str, states: Mapping[str, str]) -> bool:
    """In any version."""
    return any(state == "LOADING" for name, state in states.items() if name.partition("/")[0] == model)
