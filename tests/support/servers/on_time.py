"""Times that are promised, measured on a machine that others use too.

A neighbour that takes the core for 20 ms makes any answer late. So what is measured may be repeated, up to three times
on the same server, and once on time is enough; whatever else is wrong fails at once.

Where the promise leaves less than a second, or the test itself takes a core, it is marked `timed`: such tests have the
machine for themselves (`make test-timed`), the others run side by side.
"""

from __future__ import annotations

from collections.abc import Callable

TRIES = 3


class Late(AssertionError):
    """A time is not within its bounds."""


def within(measured: float, most: float, least: float = 0.0) -> None:
    """Late, unless `least` < `measured` < `most`."""
    if not least < measured < most:
        raise Late(f"{measured:.4f} is not between {least:g} and {most:g}")


def one_of_three(attempt: Callable[[], object]) -> None:
    """Make attempts until one is on time. The last one's Late is the test's failure."""
    for left in reversed(range(TRIES)):
        try:
            attempt()
        except Late as late:
            if not left:
                raise
            print(f"once more: {late}")
        else:
            return
