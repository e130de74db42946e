"""An XGBoost model, from the .json or .ubj file that `save_model` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xgboost


class XGBoostBooster:
    """`predict` answers as the booster does: a value a row, or the probability of each class."""

    def __init__(self, file: str) -> None:
        self.model = xgboost.Booster(model_file=str(Path(__file__).with_name(file)))
        self.model.set_param({"nthread": 1})
        self.n_features_in_ = self.model.num_features()
        if self.model.feature_names is not None:
            self.feature_names_in_ = self.model.feature_names

    def predict(self, X: Any) -> Any:
        """Answer rows of features, or a DataFrame of them, NaN where one is missing."""
        return self.model.inplace_predict(X, validate_features=False)
