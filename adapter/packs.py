"""The packs of one worker: a batcher for each host, made when the first of its models comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from adapter.backend.host_client import HostClient
from adapter.batching.pack_batcher import PackBatcher, PackedBatcher
from adapter.batching.pack_calls import PackCalls
from adapter.batching.shared_cores import SharedCores
from adapter.codec.codec import Codec
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import ModelEntry


class Packs:
    """Lead the calls of packed models to their hosts.

    Hosts are known by their Triton models' names; `host_entry` returns the entry of one as it is served now, None if
    it is not.
    """

    def __init__(
        self,
        client: HostClient,
        cores: SharedCores,
        host_entry: Callable[[str], ModelEntry | None],
        worker_counters: WorkerCounters,
        clock: Callable[[], float],
    ) -> None:
        self._calls = PackCalls(client)
        self._cores = cores
        self._host_entry = host_entry
        self._counters = worker_counters
        self._clock = clock
        self._batchers: dict[str, PackBatcher] = {}

    def join(self, host: str, entry: ModelEntry, codec: Codec) -> PackedBatcher:
        """Return a model's way to its host."""
        batcher = self._batchers.get(host)
        if batcher is None:
            read = partial(self._host_entry, host)
            batcher = self._batchers[host] = PackBatcher(read, self._calls, self._cores, self._counters, self._clock)
        return PackedBatcher(batcher, batcher.add(entry, codec))

    def slow_members(self, host: str, least_seconds: float, times: float, least_calls: int) -> list[str]:
        """Return which models of a host are far slower than their mates, by so many calls of this worker.

        They need so many times the median of what their mates need for a call, and at least so many seconds.
        """
        batcher = self._batchers.get(host)
        if batcher is None:
            return []
        return sorted(member.entry.name for member in batcher.slow_members(least_seconds, times, least_calls))
