"""Which of the requests that queue can still be answered in time, by what calls take now.

First in, first out alone fails a model that cannot keep up: once the queue is longer than the deadline, each request is
sent when it is about to expire, all of the model's time goes to such requests, and nobody is answered.
"""

from __future__ import annotations

from adapter.batching.call_times import CallTimes

# A request is not sent with less than so many times what a call needs, if others fill the call without it.
_SPARE = 1.5
# Nor with less than once that, unless it waited for less than this part of it: nothing could have answered it sooner,
# and somebody must find out when calls are quicker again.
_FRESH = 0.1


class LoadShedder:
    """Say which requests are not worth sending."""

    def __init__(self, call_times: CallTimes) -> None:
        self._call_times = call_times

    def should_drop(self, left: float, waited: float, others: bool) -> bool:
        """Return whether not to send a request that has waited so many seconds and has so many left.

        `others` says that those behind it fill a call without it.
        """
        needed = self._call_times.needed
        if left >= _SPARE * needed:
            return False
        return others or (left < needed and waited > _FRESH * needed)
