"""One at a time loads and unloads a model: the reconciler, or a reload that puts another version in its place.

Both at once would take from each other what they have just loaded; and between the switch on the disk and that of the
requests, a load by the reconciler would bring the new version under the old one's contract.
"""

from __future__ import annotations

from collections.abc import Iterable


class ModelLocks:
    """Locks by the models' names, within one event loop: `acquire` follows on `free` without a wait in between."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, name: str) -> bool:
        """Return whether nobody loads or unloads this model."""
        return name not in self._taken

    def acquire(self, names: Iterable[str]) -> None:
        """Take the locks of these models, all of which are free."""
        self._taken |= set(names)

    def release(self, names: Iterable[str]) -> None:
        """Give the locks of these models back."""
        self._taken -= set(names)
