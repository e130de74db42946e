"""One model of a pack, as its host's batcher sees it: what waits for it, and what its calls take."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from adapter.backend.host_parts import PartForm
from adapter.batching.call_times import CallTimes
from adapter.batching.queue import PendingQueue
from adapter.batching.shedding import LoadShedder
from adapter.codec.codec import Codec
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import ModelEntry

# How long a host is left alone with a model that it is loading: each time longer, up to the last.
_LOADING_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05)


class PackMember:
    """The state of one packed model in one worker.

    `times.mean` is what the model itself needs in a call, as its host measures it, without its mates; `times.needed` is
    the time to the answer of the whole call. A `slow` member goes in calls of its own. As long as there are `pauses`,
    what it is asked waits: its host is loading it (`loading`), or a call of it failed and is made again in halves.
    """

    def __init__(self, entry: ModelEntry, codec: Codec, worker_counters: WorkerCounters) -> None:
        self.entry = entry
        self.codec = codec
        self.to_arrays = codec.request.to_arrays
        self.write = codec.answer.write
        self.form = PartForm(entry)
        self.queue = PendingQueue(entry, worker_counters)
        self.times = CallTimes(entry, worker_counters)
        self.shedder = LoadShedder(self.times)
        self.answered = worker_counters.cell(entry.name, counters.ANSWERED)
        self.free_axes = any(-1 in tensor.dims for tensor in entry.inputs)
        self.slow = False
        self.pauses = 0
        # The number of its last turn among its mates (pack_queue.py).
        self.last_turn = 0
        # How often in a row its host said that it is loading it.
        self._not_loaded = 0

    @property
    def loading(self) -> bool:
        """Whether its host had not loaded it when it was last asked."""
        return self._not_loaded > 0

    def loading_pause(self) -> float:
        """Return how many seconds to wait before the host is asked again, which is loading it."""
        pause = _LOADING_SECONDS[min(self._not_loaded, len(_LOADING_SECONDS) - 1)]
        self._not_loaded += 1
        return pause

    def record(self, model_seconds: float, call_seconds: float, rows: int) -> None:
        """Record a part that was answered: what the model needed for it, and what the whole call took."""
        self._not_loaded = 0
        self.answered.add(1)
        self.times.record_part(model_seconds or call_seconds, call_seconds, rows)


def find_slow(members: Sequence[PackMember], least_seconds: float, times: float) -> list[PackMember]:
    """Return the members that need so many times what the median of their mates needs, and at least so many seconds.

    Those that were not asked yet are no mates.
    """
    asked = [member for member in members if member.times.mean > 0]
    means = sorted([member.times.mean for member in asked])

    def is_slow(mean: float) -> bool:
        return mean >= least_seconds and 0 < times * _median_beside(means, mean) <= mean

    return [member for member in asked if is_slow(member.times.mean)]


def _median_beside(ordered: Sequence[float], value: float) -> float:
    """Return the median of what is there beside one such value; 0 if there is nothing."""
    others = len(ordered) - 1
    if others < 1:
        return 0.0
    at = bisect_left(ordered, value)
    low, high = (ordered[i if i < at else i + 1] for i in ((others - 1) // 2, others // 2))
    return (low + high) / 2
