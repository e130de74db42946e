"""How a model that died, hangs or holds too much memory is brought to its end, so that it can be loaded again.

A load alone does not always replace a dead process; unloading and loading does, and takes a fresh one where the old
one never ends. What hangs is ended before, by whoever owns Triton's processes; if that is not us, it is counted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from adapter.lifecycle.served_model import Model
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe

# For the end of processes that are killed.
_KILL_SECONDS = 2.0
_KILL_LOOKS = 40
# In which Triton notices a dead process and ends the calls that wait for it.
_NOTICE_SECONDS = 1.5
# The first time at once, then after 1, 2, 4 … seconds.
_FIRST_SECONDS = 1.0
_MOST_SECONDS = 60.0
# So many deaths within so long, and it stays failed.
MOST_DEATHS = 5
WITHIN_SECONDS = 600.0

_WHAT: Mapping[str, str] = {
    "died": "a process of the model died",
    "hung": "the model does not answer",
    "memory": "the model holds more than its max_memory_mb",
}


class CrashBackoff:
    """Counts the deaths of one model, and has it wait longer after each."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def died(self, now: float) -> float | None:
        """Count a death, `now` in seconds; return how long to wait for the next load, None if it died too often."""
        while self._deaths and now - self._deaths[0] > WITHIN_SECONDS:
            self._deaths.popleft()
        self._deaths.append(now)
        before = len(self._deaths) - 1
        if before + 1 >= MOST_DEATHS:
            return None
        return min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** (before - 1)) if before else 0.0

    def forgive(self) -> None:
        """Count the last death no more."""
        if self._deaths:
            self._deaths.pop()


class Recovery:
    """Ends what is left of a model that is to be loaded again, and says how long to wait for that.

    `stubs` and `supervisor` are None unless Triton runs below `schwift serve`.
    """

    def __init__(self, stubs: StubProcesses | None = None, supervisor: SupervisorPipe | None = None) -> None:
        self._stubs = stubs
        self._supervisor = supervisor
        self._crash_backoff: defaultdict[str, CrashBackoff] = defaultdict(CrashBackoff)

    def wait(self, model: Model, reason: str, now: float) -> float | None:
        """Return the seconds until a model is loaded again, None if it died too often; each call counts a death.

        A leak (`memory`) is no death, and does not wait.
        """
        return 0.0 if reason == "memory" else self._crash_backoff[model.entry.name].died(now)

    def forgive(self, model: Model, reason: str, wait: float | None) -> float:
        """Count the last death of a pack no more; return the seconds to wait for its load."""
        if reason != "memory":
            self._crash_backoff[model.entry.name].forgive()
        if wait is None:
            wait = 0.0
            self.mark(model, reason, wait)
        return wait

    def clear(self, name: str) -> None:
        """Drop the deaths counted under this name: another model is served under it now."""
        self._crash_backoff.pop(name, None)

    def mark(self, model: Model, reason: str, wait: float | None) -> None:
        """Say in a model's state what is being done about it; `wait` as Recovery.wait gave it."""
        what = _WHAT[reason]
        if wait is None:
            minutes = WITHIN_SECONDS / 60
            model.status.become(
                "failed", f"{what}, {MOST_DEATHS} times within {minutes:g} minutes: it is left until it is built anew"
            )
            return
        model.status.become("recovering", f"{what}; it is loaded again" + (f" in {wait:g} s" if wait else ""))

    async def scan(self) -> None:
        """Find the processes, before anything is asked about them."""
        if self._stubs is not None:
            await asyncio.to_thread(self._stubs.scan)

    def outliving_death(self, model: Model) -> Sequence[str]:
        """Return which Triton models of a model that died may have been taken for dead and are not.

        A stopped process would stay for ever; one that goes on answers other calls than it should, and which one that
        is nobody knows.
        """
        if self._stubs is None:
            return []
        names = model.entry.triton_models
        stopped = [name for name in names if self._stubs.any_stopped(name)]
        return stopped or (names if model.is_tainted(model.incarnation) else [])

    def processes(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the processes of these Triton models, as far as they are seen."""
        return () if self._stubs is None else self._stubs.of(names)

    def can_end(self, names: Sequence[str]) -> bool:
        """Return whether there are processes of these Triton models, and somebody who owns them."""
        return self._stubs is not None and self._supervisor is not None and bool(self._stubs.of(names))

    async def end(self, model: Model, names: Sequence[str]) -> None:
        """End the processes of these Triton models of a model; on return they are gone, or counted as stuck."""
        if not names:
            return
        if not self.can_end(names):
            model.stuck.add(len(names))
            return
        if model.entry.front in names:
            # A front that is killed while it waits for the model can take Triton with it, by SIGSEGV in its Python
            # backend: the model first, which ends what the front waits for.
            await self._kill([model.entry.direct])
            await asyncio.sleep(_NOTICE_SECONDS)
            stubs = self._stubs
            names = [name for name in names if stubs and any(stubs.alive(pid) for pid in stubs.of([name]))]
        # Not loaded before they are gone: the new ones have the same names.
        if left := await self._kill(names):
            model.stuck.add(left)

    async def _kill(self, names: Sequence[str]) -> int:
        """Kill the processes of these Triton models, and return how many did not end within two seconds."""
        assert self._stubs is not None and self._supervisor is not None
        before = self._stubs.of(names)
        for name in names:
            self._supervisor.kill(name)
        for _ in range(_KILL_LOOKS):
            if not any(self._stubs.alive(pid) for pid in before):
                return 0
            await asyncio.sleep(_KILL_SECONDS / _KILL_LOOKS)
        return sum(self._stubs.alive(pid) for pid in before)
