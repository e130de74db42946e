"""The models of the manifest with what is known of each now: its codec, its state, how long calls take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adapter.codec import Codec
from converter.spec.manifest import Manifest, ModelEntry

# waiting: Triton is not there yet; unavailable: it was ready and is not, so it is loaded again.
State = Literal["waiting", "loading", "ready", "unavailable", "failed"]


@dataclass
class Status:
    """`reason` is set where the state is failed or unavailable; `load_seconds` once it was loaded."""

    state: State = "waiting"
    reason: str | None = None
    load_seconds: float | None = None


class Model:
    """One source model, while it is served."""

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.codec = Codec(entry)
        self.status = Status()
        # Triton goes on calling a model ready whose process is gone; a failed call is how we learn of it.
        self.dead = False

    @property
    def ready(self) -> bool:
        return self.status.state == "ready"

    def mark_dead(self) -> None:
        """A process of this model died: not ready until the keeper has loaded it again."""
        self.dead = True
        self.status.state = "unavailable"
        self.status.reason = "a process of the model died; it is loaded again"


class Registry:
    """All models, by name. `triton_up` is what the keeper saw last."""

    def __init__(self, manifest: Manifest) -> None:
        self.models = {entry.name: Model(entry) for entry in manifest.models}
        self.triton_up = False

    @property
    def ready(self) -> bool:
        return self.triton_up and all(model.ready for model in self.models.values())
