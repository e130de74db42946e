"""The cores of this machine, shared by the calls of quick models that have processes of their own.

A call costs a model about as much for one row as for some. With more calls under way than there are cores, none is
answered sooner, but what comes meanwhile goes out in many small calls in place of a few larger ones. So while several
quick models are asked at once, and have more requests than there are models, at most as many calls are under way as
there are cores, or one less if the models are few: then the event loop needs a core itself. The other models' rows wait
for a call to end; who has waited longest is next. Before the next call starts, the clients that were just answered are
waited for (linger.py), whichever models they ask for next.

Nobody waits for a call that hangs: after a moment it does not count any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapter.batching.call_times import MeanTime
from adapter.batching.linger import Linger

# So many requests a model are worth a wait: with one each there is nothing to join.
_REQUESTS_A_MODEL = 1.25
# So many models are few for a core: with one more, calls one at a time are answered a quarter less often
# (docs/performance.md). Linux keeps the addresses of six processes on each core, and Triton is one of them.
_FEW_MODELS = 5
# A model counts among those that are asked for so long after a call.
_ASKED_SECONDS = 0.01
# Slower calls are not held back: they take long, and not for what they share.
_QUICK_SECONDS = 0.003
# Clients that ask again at once are back by then.
_LONGEST_WAIT_SECONDS = 0.0006
# A call that takes longer is not quick, whatever its model's calls were before.
_STUCK_SECONDS = 0.01


class SharedCores:
    """Say which quick models may make a call now, in one event loop.

    `cores` is how many calls may be under way if models compete for them, or 0 for any number: the cores may be those
    of another machine. `clock` is finer than the loop's time. `has_spare` is whether this process has more than one
    core, and may keep one busy by waiting.
    """

    def __init__(self, cores: int, clock: Callable[[], float], has_spare: bool = True) -> None:
        self._cores = cores
        self.has_spare = has_spare
        # Requests of quick models that wait or are in calls, as their calls found them.
        self.requests = 0
        # How many clients are waited for. Whoever gets a request says so while it is above zero.
        self.awaited = 0
        self._clock = clock
        # Calls of all models and packs, and those of quick models, with the waits after them; and whose those are.
        self.calls = 0
        self._quick_calls = 0
        self._callers: set[CoreUser] = set()
        # Quick models that are asked, in the order of their last calls.
        self._asked: dict[CoreUser, None] = {}
        # Which models' rows are held back, in the order of their turns.
        self._held: dict[CoreUser, None] = {}
        self._times = MeanTime()
        self._linger = Linger(self, self._times, clock, 1, _LONGEST_WAIT_SECONDS)
        self._reached: asyncio.Future[bool] | None = None
        self._watch: asyncio.TimerHandle | None = None

    def are_crowded(self) -> bool:
        """Return whether calls of several models compete for the cores, and there is something to join."""
        if self._linger.expected:
            return True
        models = len(self._asked)
        return models > 1 and 0 < self._cores < 2 * models and self.requests >= _REQUESTS_A_MODEL * models

    def is_anybody_before(self) -> bool:
        """Return whether rows are held back, or clients waited for."""
        return bool(self._held or self._linger.expected)

    def is_free(self) -> bool:
        """Return whether there is a core for one more call."""
        cores = self._cores
        own = self.has_spare and len(self._asked) <= _FEW_MODELS * (cores - 1)
        return self._quick_calls < cores - own

    def arrive(self) -> None:
        """Note one more request while clients are waited for."""
        self.awaited -= 1
        if not self.awaited and self._reached is not None and not self._reached.done():
            self._reached.set_result(True)

    def hold(self, user: CoreUser, loop: asyncio.AbstractEventLoop) -> None:
        """Hold a model's rows back until it is their turn."""
        self._held[user] = None
        if self._watch is None:
            self._watch = loop.call_later(_STUCK_SECONDS, self._look, loop)

    def begin(self) -> None:
        """Count a call that begins."""
        self.calls += 1

    def begin_quick(self, user: CoreUser) -> None:
        """Count that it is one of a quick model."""
        self._quick_calls += 1
        self._callers.add(user)

    def note_call(self, user: CoreUser) -> None:
        """Note that a call of a quick model begins, or the next one of several."""
        asked = self._asked
        asked.pop(user, None)
        asked[user] = None
        while (longest_ago := next(iter(asked))).called < user.called - _ASKED_SECONDS:
            del asked[longest_ago]

    def end_quick(self, user: CoreUser, calls: int, last: bool) -> None:
        """Count so many calls of a quick model as over, the last one among them or not."""
        self._quick_calls -= calls
        if last:
            self._callers.discard(user)

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a call as over, and give others their turn."""
        self.calls -= 1
        self._release(loop)

    def learn(self, seconds: float, quick: bool) -> float:
        """Return what a call that took so many seconds takes without the others that it shared the cores with."""
        if quick:
            self._times.learn(seconds)
        return seconds * self._cores / self.calls if 0 < self._cores < self.calls else seconds

    async def wait(self, answered: int, loop: asyncio.AbstractEventLoop) -> None:
        """Wait a moment for so many clients, who were just answered."""
        if self._linger.expected:
            # Whoever waits already waits for these too.
            self.awaited += answered
            return
        try:
            await self._linger.wait(answered)
        finally:
            self.awaited = 0
        self._release(loop)

    def reach(self, requests: int) -> asyncio.Future[bool]:
        """Return a future that is True as soon as so many requests have come. The newest one alone counts."""
        self.awaited = requests
        self._reached = reached = asyncio.get_running_loop().create_future()
        return reached

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        held = self._held
        while held and ((self.is_free() and not self._linger.expected) or not self.are_crowded()):
            user = next(iter(held))
            del held[user]
            user.call_held(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count calls no more that take long, while anybody waits for their end."""
        self._watch = None
        since = self._clock() - _STUCK_SECONDS
        for user in [user for user in self._callers if user.called <= since]:
            user.give_up()
        self._release(loop)
        if self._held:
            self._watch = loop.call_later(_STUCK_SECONDS, self._look, loop)


class CoreUser:
    """One model's part in it. `call_held` starts a call if rows wait, after they were held back.

    `quick` is whether the model's calls are so quick that they share the cores. `called` is when the last one began.
    """

    def __init__(self, cores: SharedCores, call_held: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self.call_held = call_held
        self.quick = False
        self.called = 0.0
        self._cores = cores
        # What a call takes of a core.
        self._times = MeanTime()
        # Requests and calls as they were counted.
        self._requests = 0
        self._calls = 0

    def is_crowded(self) -> bool:
        """Return whether rows of other models are worth a wait."""
        return self.quick and self._cores.are_crowded()

    def has_turn(self) -> bool:
        """Return whether one more call may start."""
        cores = self._cores
        return (cores.is_free() and not cores.is_anybody_before()) or not self.is_crowded()

    def keeps_turn(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether another call may follow one; if not, the model's rows have the last place of those held."""
        if self._cores.is_anybody_before() and self.is_crowded():
            self._cores.hold(self, loop)
            return False
        return True

    def count(self, requests: int) -> None:
        """Say how many requests of the model wait or are in calls."""
        if not self.quick:
            requests = 0
        self._cores.requests += requests - self._requests
        self._requests = requests

    def hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hold the rows back until it is their turn."""
        self._cores.hold(self, loop)

    def begin(self) -> None:
        """Count a call that begins, or several, one after the other."""
        self._cores.begin()
        if self.quick:
            self._calls += 1
            self._cores.begin_quick(self)

    def note_call(self, now: float) -> None:
        """Note that a call begins, the only one or the next one of those that were counted as one."""
        self.called = now
        if self.quick:
            self._cores.note_call(self)

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the end of what began."""
        if self._calls:
            self._calls -= 1
            self._cores.end_quick(self, 1, not self._calls)
        self._cores.end(loop)

    def give_up(self) -> None:
        """Count what began as over, though it is not."""
        calls, self._calls = self._calls, 0
        self._cores.end_quick(self, calls, last=True)

    def learn(self, seconds: float) -> None:
        """Learn from a call that took so many seconds."""
        taken = self._cores.learn(seconds, self.quick)
        # A model is slow until it has been quick.
        self._times.mean = self._times.mean or taken
        self._times.learn(taken)
        self.quick = self._times.mean < _QUICK_SECONDS

    async def wait(self, answered: int, loop: asyncio.AbstractEventLoop) -> None:
        """Wait a moment for so many clients, who were just answered."""
        await self._cores.wait(answered, loop)
