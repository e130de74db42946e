"""Trains five usual models, as a user would in an environment of their own: `python train.py FOLDER`.

Each is saved as FOLDER/<kind>/model.joblib, beside it `answers.json` with some rows and its own answers. Imports what
the environment has, and nothing of this project.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

ROWS = 40
WORDS = ["grün", "salt", "sea", "tea", "wind", "ash"]


def main(folder: str) -> None:
    random = np.random.RandomState(7)
    numbers = random.normal(size=(400, 4))
    labels = (numbers[:, 0] + numbers[:, 1] ** 2 > 0.4).astype(int) + (numbers[:, 2] > 1)
    texts = np.array([[" ".join(random.choice(WORDS, 5))] for _ in range(400)], dtype=object)
    about = np.array([int("sea" in text) for (text,) in texts])
    models = {
        "logistic": (LogisticRegression(max_iter=500), numbers, labels),
        "pipeline": (make_pipeline(StandardScaler(), LogisticRegression(C=0.3)), numbers, labels),
        "forest": (RandomForestClassifier(20, random_state=1), numbers, labels),
        "boosting": (HistGradientBoostingClassifier(max_iter=20), numbers, labels),
        "text": (make_pipeline(FunctionTransformer(np.ravel), TfidfVectorizer(), LogisticRegression()), texts, about),
    }
    for kind, (model, rows, answers) in models.items():
        model.fit(rows, answers)
        place = Path(folder, kind)
        place.mkdir(parents=True)
        joblib.dump(model, place / "model.joblib")
        said = {"features": rows[:ROWS].tolist(), "predictions": model.predict_proba(rows[:ROWS]).tolist()}
        (place / "answers.json").write_text(json.dumps(said), encoding="utf-8")


main(sys.argv[1])
