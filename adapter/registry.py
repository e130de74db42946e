"""The models of the manifest with what is known of each now: its codec, its state, how long calls take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

from adapter import tally
from adapter.board import Board
from adapter.codec import Codec
from adapter.tally import Gauge
from converter.spec.manifest import Manifest, ModelEntry

# waiting: Triton is not there yet; unavailable: it was ready and is not, so it is loaded again; recovering: that is
# under way, after one of its processes died or hung.
State = Literal["waiting", "loading", "ready", "unavailable", "recovering", "failed"]


@dataclass
class Status:
    """`reason` is set where the state is failed or unavailable; `load_seconds` once it was loaded."""

    state: State = "waiting"
    reason: str | None = None
    load_seconds: float | None = None


class Model:
    """One source model, while it is served; its numbers are on the board."""

    def __init__(self, entry: ModelEntry, board: Board, worker: int) -> None:
        def gauge(cell: int) -> Gauge:
            return Gauge(board, entry.name, worker, cell)

        self.entry = entry
        self.codec = Codec(entry)
        self.status = Status()
        # How often a worker saw a process of it dead.
        self._deaths = gauge(tally.DEATHS_SEEN)
        self._deaths_mended = self.deaths
        # How often it was loaded.
        self.generation = 0
        self.recoveries = {reason: gauge(tally.RECOVERIES + i) for i, reason in enumerate(tally.RECOVERY_REASONS)}
        # Processes that could not be ended.
        self.stuck = gauge(tally.STUCK)
        # Bytes that its processes hold; 0 where that is not known.
        self.memory = gauge(tally.MEMORY)

    @property
    def ready(self) -> bool:
        return self.status.state == "ready"

    @property
    def deaths(self) -> int:
        """Seen by any worker."""
        return int(self._deaths.total())

    @property
    def deaths_mended(self) -> int:
        return self._deaths_mended

    @property
    def dead(self) -> bool:
        """Triton goes on calling a model ready whose process is gone; a failed call is how we learn of it."""
        return self.deaths > self._deaths_mended

    @property
    def over_memory(self) -> bool:
        """Whether its processes hold more than its config allows."""
        most = self.entry.spec.max_memory_mb
        return most is not None and self.memory.mine > most * 1024 * 1024

    def mark_dead(self, generation: int) -> None:
        """A process of this model died: not ready until the keeper has loaded it again.

        One of a generation before is replaced already, or is being replaced where the model is not ready.
        """
        if not self.ready or generation != self.generation:
            return
        self._deaths.add(1)
        self.status.state = "unavailable"
        self.status.reason = "a process of the model died; it is loaded again"

    def mend(self, deaths: int) -> None:
        """So many of the deaths are over: what was loaded since is another process."""
        self._deaths_mended = deaths


class Registry:
    """All models, by name. `triton_up` is what the keeper saw last.

    `worker` is this process's place on the `board`.
    """

    def __init__(self, manifest: Manifest, board: Board | None = None, worker: int = 0) -> None:
        board = board or tally.make_board([entry.name for entry in manifest.models])
        self.models = {entry.name: Model(entry, board, worker) for entry in manifest.models}
        self.triton_up = False
        # This process is about to end: it takes no new requests.
        self.draining = False

    @property
    def ready(self) -> bool:
        return not self.draining and self.triton_up and all(model.ready for model in self.models.values())

    def as_text(self) -> bytes:
        """What a worker that does not lead has to know."""
        states = {
            name: [
                model.status.state,
                model.status.reason,
                model.status.load_seconds,
                model.deaths_mended,
                model.generation,
            ]
            for name, model in self.models.items()
        }
        return orjson.dumps({"triton_up": self.triton_up, "models": states})

    def follow(self, text: bytes) -> None:
        """Take over what the leading worker wrote, but for what it has not heard of: deaths that were seen since."""
        told = orjson.loads(text)
        self.triton_up = told["triton_up"]
        for name, (state, reason, load_seconds, mended, generation) in told["models"].items():
            model = self.models[name]
            model.mend(mended)
            model.generation = generation
            if not (model.dead and state == "ready"):
                model.status.state, model.status.reason = state, reason
                model.status.load_seconds = load_seconds
