"""An MLflow model folder, by its flavour python_function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc


class MLflowModel:
    """`predict` takes what the model's signature says: an array, or a DataFrame."""

    def __init__(self, folder: str) -> None:
        self.model = mlflow.pyfunc.load_model(str(Path(__file__).with_name(folder)))

    def predict(self, X: Any) -> Any:
        """Answer rows."""
        return self.model.predict(X)
