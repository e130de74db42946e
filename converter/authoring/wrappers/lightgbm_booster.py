"""A LightGBM model, from the text file that `Booster.save_model` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm


class LightGBMBooster:
    """`predict` answers as the booster does: a value a row, or the probability of each class."""

    def __init__(self, file: str) -> None:
        self.model = lightgbm.Booster(model_file=Path(__file__).with_name(file))
        self.n_features_in_ = self.model.num_feature()
        names = self.model.feature_name()
        if names != [f"Column_{i}" for i in range(len(names))]:
            self.feature_names_in_ = names

    def predict(self, X: Any) -> Any:
        """Answer rows of features, or a DataFrame of them, NaN where one is missing."""
        return self.model.predict(X, num_threads=1)
