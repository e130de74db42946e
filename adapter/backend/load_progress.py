"""What became of a load or an unload whose answer does not come, by Triton's index of its models.

If the wall clock was set back, the timers of the pinned Triton's gRPC stand still until it is again where it was, and
with them its answers to loads and unloads, which it sends by a timer. They are done all the same, and the index is
answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class State(NamedTuple):
    """The state of one version of a model.

    `name` is `READY`, `LOADING`, `UNLOADING`, `UNAVAILABLE`, which has a `reason`, or empty.
    """

    name: str
    reason: str = ""


# By version.
States = Mapping[str, State]

_READY, _FAILED = "READY", "UNAVAILABLE"
_AT_WORK = ("LOADING", "UNLOADING")
# The reason of a version that did not fail.
_UNLOADED = "unloaded"


@dataclass
class LoadProgress:
    """Follow the load of one model by its states: those `before`, and those that `look` is given later.

    A version that was ready before and was not seen otherwise since says nothing, nor does one whose failure is the one
    from before.
    """

    before: States
    # Versions of which something was seen since that was not so before.
    _changed: set[str] = field(default_factory=set)

    def look(self, states: States) -> State | None:
        """Return how the load ended, with `READY` or a failure; None while it goes on, or if the states do not tell."""
        self._changed |= {version for version, state in states.items() if state != self.before.get(version)}
        changed = [states[version] for version in self._changed if version in states]
        for state in changed:
            if state.name == _READY:
                return state
        if any(state.name in _AT_WORK for state in states.values()):
            return None
        failed = [state for state in changed if state.name == _FAILED and state.reason != _UNLOADED]
        return failed[0] if failed else None


def unloaded(states: States) -> State | None:
    """Return how an unload ended; None while a version is ready or about to be."""
    if any(state.name in (_READY, "LOADING") for state in states.values()):
        return None
    return State(_FAILED, _UNLOADED)
