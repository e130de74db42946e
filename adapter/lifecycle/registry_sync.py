"""What the leading worker knows of the models, told to the others."""

from __future__ import annotations

from adapter.lifecycle.registry import Registry
from adapter.workers.shared_snapshot import Bulletin


class News:
    """`tell` is for the worker that leads, `follow` for all: who leads has nothing to follow."""

    def __init__(self, registry: Registry, bulletin: Bulletin) -> None:
        self._registry = registry
        self._bulletin = bulletin
        self._seen = 0
        self._told = b""

    def tell(self) -> None:
        """Write down what has changed."""
        text = self._registry.as_text()
        if text != self._told:
            self._seen = self._bulletin.publish(text)
            self._told = text

    def follow(self) -> None:
        """Take over what was written since; next to nothing where nothing was."""
        news = self._bulletin.read(self._seen)
        if news is not None:
            self._seen, text = news
            self._registry.follow(text)
