"""Makes model.joblib: a scikit-learn pipeline, scaled and fitted on the iris data."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

iris = load_iris()
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
model.fit(iris.data, iris.target)
joblib.dump(model, Path(__file__).with_name("model.joblib"))
