"""An XGBoost model, from the .json or .ubj file that `save_model` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost


class XGBoostBooster:
    """`predict` answers as the booster does: a value a row, or the probability of each class.

    With `classes` a classifier of two has both probabilities, and with `labels` its answer is the class itself.
    """

    def __init__(self, file: str, classes: Sequence[Any] | None = None, labels: bool = False) -> None:
        self._classes = None if classes is None else np.asarray(classes)
        self._labels = labels
        self.model = xgboost.Booster(model_file=str(Path(__file__).with_name(file)))
        self.model.set_param({"nthread": 1})
        self.n_features_in_ = self.model.num_features()
        if self.model.feature_names is not None:
            self.feature_names_in_ = self.model.feature_names

    def predict(self, X: Any) -> Any:
        """Answer rows of features, or a DataFrame of them, NaN where one is missing."""
        answer = self.model.inplace_predict(X, validate_features=False)
        if self._classes is None:
            return answer
        scores = np.stack([1 - answer, answer], axis=1) if answer.ndim == 1 else answer
        return self._classes[scores.argmax(axis=1)] if self._labels else scores
