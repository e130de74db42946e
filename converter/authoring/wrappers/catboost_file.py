"""A CatBoost model, from the .cbm file that `save_model` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import catboost


class CatBoostFile:
    """A classifier answers with the probability of each class, a regressor with a value a row.

    With `labels` a classifier answers with the class itself; `classes` are those of the file.
    """

    def __init__(self, file: str, classes: Sequence[Any] | None = None, labels: bool = False) -> None:
        self.model = catboost.CatBoost().load_model(str(Path(__file__).with_name(file)))
        names = self.model.feature_names_
        self.n_features_in_ = len(names)
        if names != [str(i) for i in range(len(names))]:
            self.feature_names_in_ = names
        classes = getattr(self.model, "classes_", None)
        self._answer = "Class" if labels else "Probability" if classes is not None and len(classes) else "RawFormulaVal"

    def predict(self, X: Any) -> Any:
        """Answer rows of features, or a DataFrame of them, NaN where one is missing."""
        return self.model.predict(X, prediction_type=self._answer, thread_count=1)
