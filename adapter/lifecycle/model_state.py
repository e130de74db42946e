"""What a model's state is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# waiting: Triton is not there yet; unavailable: it was ready and is not, so it is loaded again; recovering: that is
# under way, after one of its processes died or hung.
State = Literal["waiting", "loading", "ready", "unavailable", "recovering", "failed"]


@dataclass
class Status:
    """`reason` is set where the state is failed or unavailable; `load_seconds` once it was loaded."""

    state: State = "waiting"
    reason: str | None = None
    load_seconds: float | None = None
