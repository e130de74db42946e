"""Which models did harm to their pack, and which of them are to have a process of their own from now on."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

# So often within so long, and a model is moved out.
MOST_STRIKES = 2
WITHIN_SECONDS = 600.0
# A model is far slower than its mates if its calls take so long, and so many times as long as theirs, of so many.
SLOW_SECONDS, SLOW_TIMES, SLOW_CALLS = 0.1, 20.0, 20

# Returns the models of a host that are far slower than their mates (adapter/packs.py).
SlowMembers = Callable[[str, float, float, int], list[str]]


@dataclass(eq=False)
class Strikes:
    """Count what models did to their mates. `clock` is in seconds."""

    _slow_members: SlowMembers
    _clock: Callable[[], float]
    _struck: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque), init=False)

    def strike(self, name: str) -> bool:
        """Count one; return whether the model is to be moved out."""
        now, struck = self._clock(), self._struck[name]
        while struck and now - struck[0] > WITHIN_SECONDS:
            struck.popleft()
        struck.append(now)
        return len(struck) >= MOST_STRIKES

    def find_slow(self, host: str) -> list[str]:
        """Return the models of a host that are far slower than their mates."""
        return self._slow_members(host, SLOW_SECONDS, SLOW_TIMES, SLOW_CALLS)

    def clear(self, name: str) -> None:
        """Drop the strikes of a model: another one is served under its name now."""
        self._struck.pop(name, None)
