"""An event loop whose time is counted and not waited for: the same to the last digit however busy the machine is."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class _Jumping(selectors.BaseSelector):
    """Where the loop would sleep until a timer is due, the clock jumps there."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn_seconds = 0.0
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits, and no timer is set"
        self.now += max(self.turn_seconds, timeout)
        return self._inner.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class CountedLoop(asyncio.SelectorEventLoop):
    """For tasks and timers, not for sockets and threads. It begins at 0."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        # Every timer that was set.
        self.timers: list[asyncio.TimerHandle] = []
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def count_turns(self, seconds: float) -> None:
        """A turn takes so long from now on, for what waits by looking at the clock again and again."""
        self._clock.turn_seconds = seconds

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers.append(timer)
        return timer

    @property
    def waiting(self) -> list[float]:
        """When the timers are due that are still to come."""
        return [timer.when() for timer in self.timers if not timer.cancelled() and timer.when() > self.time()]


def counted(main: Coroutine[Any, Any, T], loop: CountedLoop | None = None) -> T:
    """As `asyncio.run`, in counted time."""
    loop = loop or CountedLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_end_tasks())
        loop.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def in_counted_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A plain test of one that runs in such a loop."""

    @functools.wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> None:
        counted(test(*args, **kwargs))

    return plain


def counted_loop() -> CountedLoop:
    """The one that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountedLoop)
    return loop
