"""Opens models and asks them, in the model's own Python: nothing but the standard library and numpy, and late imports.

`fitted_model.py` starts it as a package of its own, `schwift_probe`, in any Python from 3.10 on, without the rest of
schwift.
"""

from __future__ import annotations


class CannotTell(Exception):
    """What is not to be known of a model, in words; `key` is the option that says it."""

    def __init__(self, said: str, key: str | None = None) -> None:
        super().__init__(said)
        self.key = key
