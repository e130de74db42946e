"""The rows that the models of the zoo are trained with: people with ages, cities and gaps; numbers; texts."""

from __future__ import annotations

import numpy as np
import pandas as pd

RANDOM = np.random.RandomState(7)
ROWS = 120
X = RANDOM.normal(size=(ROWS, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = np.digitize(X[:, 0] - X[:, 2], [-0.7, 0.7])
R = 3 * X[:, 0] - X[:, 1] + 0.1 * RANDOM.normal(size=ROWS)
BOTH = np.column_stack([R, X[:, 2] * 2])
HOLES = np.where(RANDOM.uniform(size=X.shape) < 0.1, np.nan, X)
COUNTS = RANDOM.poisson(2, size=(ROWS, 4))
WORDS = ["good", "film", "bad", "salt", "tea", "sea", "wind", "actor", "plot", "boring"]
TEXTS = [" ".join(RANDOM.choice(WORDS, size=6)) for _ in range(ROWS)]
MOOD = np.array([int("bad" in text or "boring" in text) for text in TEXTS])
CITY = RANDOM.choice(["Bern", "Lima", "Zürich"], size=ROWS)
PEOPLE = pd.DataFrame(
    {
        "age": RANDOM.randint(18, 90, size=ROWS).astype(float),
        "pay": np.round(RANDOM.lognormal(10, 0.5, size=ROWS), 2),
        "city": CITY,
        "member": RANDOM.uniform(size=ROWS) < 0.5,
    }
)
_LEAN = PEOPLE["city"].map({"Bern": -1.0, "Lima": 1.0, "Zürich": 0.0})
CHURN = np.where((PEOPLE["age"] - 54) / 20 + _LEAN > 0, "leaves", "stays")
# As read_csv has it: a missing text is NaN.
GAPS = PEOPLE.assign(
    age=PEOPLE["age"].where(RANDOM.uniform(size=ROWS) > 0.1),
    city=PEOPLE["city"].where(RANDOM.uniform(size=ROWS) > 0.15),
)
NUMBERS = pd.DataFrame(X, columns=["width", "height", "depth", "weight of it"])
