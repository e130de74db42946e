"""Makes model.joblib: a random forest of 25 trees, fitted on the iris data."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

iris = load_iris()
model = RandomForestClassifier(n_estimators=25, max_depth=4, random_state=0)
model.fit(iris.data, iris.target)
joblib.dump(model, Path(__file__).with_name("model.joblib"), compress=3)
