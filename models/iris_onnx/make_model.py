"""Makes model.onnx: the pipeline of ../iris_logreg, exported with a free first axis and plain tensors."""

from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

iris = load_iris()
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
model.fit(iris.data, iris.target)
graph = to_onnx(
    model,
    initial_types=[("features", FloatTensorType([None, 4]))],
    options={"zipmap": False},  # probabilities as a tensor; the default is a list of dicts
    target_opset=17,
)
Path(__file__).with_name("model.onnx").write_bytes(graph.SerializeToString())
