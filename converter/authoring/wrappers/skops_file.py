"""A scikit-learn model from a skops file; `trusted` are the types in it that skops does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skops.io


class SkopsFile:
    """`predict` is the method of the model that is named, as `predict_proba`; all else of it is as the model has it."""

    def __init__(self, file: str, method: str = "predict", trusted: Sequence[str] = ()) -> None:
        self.model = skops.io.load(Path(__file__).with_name(file), trusted=list(trusted))
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)

    def predict(self, X: Any) -> Any:
        """Answer what the model takes: an array of rows, texts, or a DataFrame."""
        return getattr(self.model, self._method)(X)
