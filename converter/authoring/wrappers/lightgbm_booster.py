"""A LightGBM model, from the text file that `Booster.save_model` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np


class LightGBMBooster:
    """`predict` answers as the booster does: a value a row, or the probability of each class.

    With `classes` a classifier of two has both probabilities, and with `labels` its answer is the class itself.
    """

    def __init__(self, file: str, classes: Sequence[Any] | None = None, labels: bool = False) -> None:
        self._classes = None if classes is None else np.asarray(classes)
        self._labels = labels
        self.model = lightgbm.Booster(model_file=Path(__file__).with_name(file))
        self.n_features_in_ = self.model.num_feature()
        names = self.model.feature_name()
        if names != [f"Column_{i}" for i in range(len(names))]:
            self.feature_names_in_ = names

    def predict(self, X: Any) -> Any:
        """Answer rows of features, or a DataFrame of them, NaN where one is missing."""
        answer = self.model.predict(X, num_threads=1)
        if self._classes is None:
            return answer
        scores = np.stack([1 - answer, answer], axis=1) if answer.ndim == 1 else answer
        return self._classes[scores.argmax(axis=1)] if self._labels else scores
