"""The one error of the probe that is for users."""

from __future__ import annotations


class CannotTell(Exception):
    """What is not to be known of a model, in words; `key` is the option that says it."""

    def __init__(self, said: str, key: str | None = None) -> None:
        super().__init__(said)
        self.key = key
