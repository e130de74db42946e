"""A packed model while it is served: its states are its own, and its process is its host's."""

from __future__ import annotations

from collections.abc import Callable

from adapter.lifecycle.served_model import Model
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import PACK_SUFFIX, ModelEntry


class PackedModel(Model):
    """One packed model, in one worker. `host` is the model that its host is; that one lives and dies for all in it.

    `proven` says that it was loaded and answered: if its host is loaded again, it needs no other proof.
    """

    def __init__(
        self,
        entry: ModelEntry,
        table: SharedTable,
        worker: int,
        host: Model,
        changed: Callable[[], None],
    ) -> None:
        self.host = host
        self.proven = False
        super().__init__(entry, table, worker, lambda _: False, changed)

    @property
    def ready(self) -> bool:
        """Whether requests may be sent to the model: its host loads one that is asleep by itself."""
        return (self.status.ready or self.status.asleep) and self.host.status.ready

    @property
    def pack(self) -> str | None:
        """The name of its pack."""
        return self.host.entry.name.removesuffix(PACK_SUFFIX)

    @property
    def sleeps(self) -> bool:
        """No request has to wait until it is woken."""
        return False

    @property
    def dead(self) -> bool:
        """Whether any worker knows that the host's process died."""
        return self.host.dead

    @property
    def incarnation(self) -> int:
        """The host's incarnation, since that is the process which answers."""
        return self.host.incarnation

    @incarnation.setter
    def incarnation(self, value: int) -> None:
        """Leave it to the host."""

    def is_tainted(self, incarnation: int) -> bool:
        """Return whether an answer to a call of this incarnation may be another call's."""
        return self.host.is_tainted(incarnation)

    def begin_incarnation(self, incarnation: int) -> None:
        """Leave it to the host."""

    def incarnation_at(self, moment: float) -> int:
        """Return the host's incarnation at a moment of the monotonic clock."""
        return self.host.incarnation_at(moment)

    def report_dead(self, incarnation: int, by: str) -> None:
        """Tell that the host's process died."""
        self.host.report_dead(incarnation, by)
