"""The rows that the models are fitted with."""

# Most of the libraries are not where types are checked.
# mypy: ignore-errors

from collections.abc import Callable
from typing import Any

import numpy as np

RANDOM = np.random.RandomState(3)
X = RANDOM.normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
LETTERS = np.array(["a", "b"], dtype=object)[Y]
R = X[:, 0] * 2 + X[:, 1]
BOTH = np.column_stack([R, X[:, 2]])
MIXED = np.column_stack([X.astype(object), LETTERS])
HOLES = np.where(RANDOM.uniform(size=X.shape) < 0.1, np.nan, X)
TEXTS = ["sea salt", "tea wind", "ash sea", "salt wind tea"] * 15
COUNTS = RANDOM.poisson(2, size=(60, 4))

Make = Callable[[], Any]
