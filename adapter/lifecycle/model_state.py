"""The states of a served model, which may follow which, and the one place that writes them.

    waiting ──> loading ──> ready <──> unavailable
                   │          │             │
                   │          └──> recovering <──┘ ──> ready
                   └──> failed <───────┘
    loading ──> asleep <──> ready

waiting: Triton is not there yet. unavailable: it was ready and is not, so it is loaded again. recovering: that is under
way, after one of its processes died, hung or grew too large. failed: it is left until it is built or reloaded. asleep:
it was loaded once and is not now, for the sake of memory; a request has it loaded again, and waits for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, get_args

State = Literal["waiting", "loading", "ready", "unavailable", "recovering", "failed", "asleep"]
STATES: tuple[State, ...] = get_args(State)

# The states that may follow each. Any may be followed by itself: a worker that takes the lead goes on with what the one
# before it began, and so may find a model that is being loaded by nobody, and is dead.
FOLLOWING: Mapping[State, tuple[State, ...]] = {
    # Ready at once if Triton has it already.
    "waiting": ("loading", "ready", "recovering", "failed"),
    "loading": ("ready", "unavailable", "recovering", "failed", "asleep"),
    "ready": ("unavailable", "recovering", "failed", "asleep"),
    "unavailable": ("loading", "ready", "recovering", "failed"),
    # Unavailable if Triton goes meanwhile.
    "recovering": ("ready", "unavailable", "failed"),
    # A load that took too long may end well after all; Triton may go while what died for the last time is unloaded.
    "failed": ("ready", "unavailable", "recovering"),
    # It stays asleep while it is loaded for who waits.
    "asleep": ("ready", "unavailable", "recovering", "failed"),
}


class ModelState:
    """The state of one model, in one worker.

    `changed` is called after each change but those that another worker tells of. `reason` is set if the state is
    unavailable, recovering or failed, and in a ready one may be a note; `load_seconds` once the model was loaded.
    """

    __slots__ = ("_changed", "_woken", "asleep", "load_seconds", "ready", "reason", "state")

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        # Set when it is asleep no more; made by who waits for that.
        self._woken: asyncio.Event | None = None
        # Plain attributes, since each request asks.
        self.ready = False
        self.asleep = False
        self.state: State = "waiting"
        self.reason: str | None = None
        self.load_seconds: float | None = None

    def become(self, state: State, reason: str | None = None, load_seconds: float | None = None) -> None:
        """Change the state; without `load_seconds` the last ones stay. Raise ValueError if the state may not follow."""
        if state != self.state and state not in FOLLOWING[self.state]:
            raise ValueError(f"a model that is {self.state} does not become {state}")
        if load_seconds is None:
            load_seconds = self.load_seconds
        if (state, reason, load_seconds) != (self.state, self.reason, self.load_seconds):
            self.adopt(state, reason, load_seconds)
            self._changed()

    def adopt(self, state: State, reason: str | None = None, load_seconds: float | None = None) -> None:
        """Take over what the leading worker says, which may be several changes later."""
        self.state, self.reason, self.load_seconds = state, reason, load_seconds
        self.ready = state == "ready"
        self.asleep = state == "asleep"
        if not self.asleep:
            self.end_waits()

    async def wait_awake(self) -> None:
        """Wait for as long as the model is asleep, or until another one serves its name."""
        if self.asleep:
            self._woken = self._woken or asyncio.Event()
            await self._woken.wait()

    def end_waits(self) -> None:
        """Have nobody wait for this model any longer."""
        woken, self._woken = self._woken, None
        if woken is not None:
            woken.set()
