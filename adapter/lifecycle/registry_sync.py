"""What the leading worker knows of the models, told to the others."""

from __future__ import annotations

from adapter.lifecycle.registry import Registry
from adapter.workers.process_lock import ProcessLock
from adapter.workers.shared_snapshot import SharedSnapshot


class RegistrySync:
    """Tells the other workers of this one's models, or hears of theirs from the worker that leads.

    Who holds the `lead_lock` leads: it keeps the models loaded, and tells the others. `publish` is for that worker,
    `catch_up` for all: who leads has nothing to catch up with.
    """

    def __init__(self, registry: Registry, snapshot: SharedSnapshot, lead_lock: ProcessLock) -> None:
        self.registry = registry
        self._lead_lock = lead_lock
        self._snapshot = snapshot
        self._seen = 0
        self._told = b""
        self._leads = False
        registry.watch_states(self._publish_change)

    def try_lead(self) -> bool:
        """Take the lead if no other worker has it; return whether this one leads."""
        if not self._lead_lock.try_acquire():
            return False
        self.lead()
        return True

    def lead(self) -> None:
        """Take over what the worker that led before knew, and publish each change of a state from now on."""
        self.catch_up()
        self._leads = True

    def publish(self) -> None:
        """Write what the other workers have to know, if it has changed."""
        text = self.registry.as_text()
        if text != self._told:
            self._seen = self._snapshot.publish(text)
            self._told = text

    def catch_up(self) -> None:
        """Take over what the leading worker has written since; if that is nothing, it costs next to nothing."""
        published = self._snapshot.read(self._seen)
        if published is not None:
            self._seen, text = published
            self.registry.follow(text)

    def _publish_change(self) -> None:
        if self._leads:
            self.publish()
