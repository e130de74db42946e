"""Trees in float64: the graph decides as the library does, at thresholds and one step beside them too."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_iris, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier

from converter.authoring.object_probe import CannotTell
from converter.authoring.object_probe.exporting import booster_trees, many_answers
from converter.authoring.object_probe.exporting.double_trees import Ensemble, Tree, round_as_float32, write_node
from converter.authoring.object_probe.exporting.sklearn_trees import list_isolation, list_sklearn
from converter.authoring.object_probe.value_hints import Hint, learn

X, Y = load_iris(return_X_y=True)
XR, YR = make_regression(300, 4, random_state=0)


def run(ensemble: Ensemble, rows: Any) -> Any:
    """What ONNX Runtime makes of the sum of an ensemble."""
    targets = len(ensemble.base)
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **write_node(ensemble, targets))
    given = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, rows.shape[1]])
    wanted = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, targets])
    graph = helper.make_graph([node], "trees", [given], [wanted])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0] / ensemble.divisor + ensemble.base


def at_thresholds(model: Any, rows: Any) -> Any:
    """Rows at what the model splits at, and beside it."""
    form = {"form": "matrix", "dtype": "float64", "width": rows.shape[1]}
    hints = learn(model, rows.shape[1], None)
    made = many_answers.make_at_thresholds(form, hints, rows.tolist(), 500, random.Random(0))
    assert len(made) == 500
    return np.array(made)


@pytest.mark.parametrize("t", [0.8, 0.800000011920929, 2.449999988079071, -1.25, 3.0e-40, 16777217.0, 0.1])
def test_a_threshold_for_float64_decides_as_float32_does(t: float) -> None:
    """scikit-learn's forests compare float32(x) with a float64."""
    (rounded,) = round_as_float32(np.array([t])).tolist()
    near = np.float32(t)
    for edge in (np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))):
        for x in (np.nextafter(float(edge), -np.inf), float(edge), np.nextafter(float(edge), np.inf), rounded):
            assert (np.float32(x) <= t) == (x <= rounded), (x, t)
    assert np.float32(rounded) <= t < np.float32(np.nextafter(rounded, np.inf))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(10, random_state=0),
        GradientBoostingRegressor(n_estimators=10, random_state=0),
        HistGradientBoostingRegressor(max_iter=10),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors_answer_the_same_at_their_thresholds(model: Any) -> None:
    model.fit(XR, YR)
    rows = at_thresholds(model, XR)
    np.testing.assert_allclose(run(list_sklearn(model), rows)[:, 0], model.predict(rows), rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier(20, random_state=0), ExtraTreesClassifier(10, random_state=0), DecisionTreeClassifier()],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_have_the_same_probabilities_at_their_thresholds(model: Any) -> None:
    model.fit(X, Y)
    rows = at_thresholds(model, X)
    np.testing.assert_array_equal(run(list_sklearn(model), rows), model.predict_proba(rows))
    model.fit(X, Y > 0)
    np.testing.assert_array_equal(run(list_sklearn(model), rows)[:, 0], model.predict_proba(rows)[:, 1])


def test_an_isolation_forest_has_the_same_depths() -> None:
    model = IsolationForest(n_estimators=20, max_features=0.5, random_state=0).fit(XR)
    rows = at_thresholds(model, XR)
    scores = -(2.0 ** -run(list_isolation(model), rows)[:, 0])
    np.testing.assert_allclose(scores, model.score_samples(rows), rtol=1e-13)


def test_a_root_beside_whose_leaf_is_a_node_of_the_same_number_is_no_leaf() -> None:
    """ONNX Runtime takes it for one, unless no two have one number."""
    tree = Tree(
        feature=np.array([0, -2, 1, -2, -2]),
        threshold=np.array([0.5, 0, 0.5, 0, 0]),
        left=np.array([1, -1, 3, -1, -1]),
        right=np.array([2, -1, 4, -1, -1]),
        missing_left=np.zeros(5, bool),
        value=np.array([[0.0], [1], [0], [2], [3]]),
    )
    rows = np.array([[0.0, 0], [1, 0], [1, 1]])
    assert run(Ensemble([(tree, [0])] * 3, np.zeros(1)), rows).ravel().tolist() == [3, 6, 9]


def test_a_tree_that_is_a_leaf_answers_it() -> None:
    model = DecisionTreeClassifier().fit([[0.0], [1.0]], ["a", "a"])
    assert run(list_sklearn(model), np.array([[5.0]])).tolist() == [[1.0]]


def test_a_forest_of_several_outputs_is_refused_in_words() -> None:
    model = RandomForestRegressor(2, random_state=0).fit(XR, np.stack([YR, YR], axis=1))
    with pytest.raises(CannotTell, match="a RandomForestRegressor of several outputs"):
        list_sklearn(model)


class Booster:
    """What LightGBM says of a model of two splits, or another objective."""

    def __init__(self, **changes: Any) -> None:
        leaf = {"leaf_value": 1.0}
        split = {"decision_type": "<=", "missing_type": "NaN", "default_left": True, "split_feature": 0}
        inner = {
            **split,
            "threshold": -1.0,
            "missing_type": "None",
            "left_child": leaf,
            "right_child": {"leaf_value": 2.0},
        }
        root = {
            **split,
            "threshold": 0.5,
            "left_child": inner,
            "right_child": {"leaf_value": 4.0},
            **changes.pop("root", {}),
        }
        self._said = {
            "objective": "regression", "num_tree_per_iteration": 1, "tree_info": [{"tree_structure": root}], **changes,
        }  # fmt: skip
        self.booster_ = self

    def dump_model(self) -> dict[str, Any]:
        return self._said


def test_lightgbms_missing_values_go_where_it_says() -> None:
    rows = np.array([[0.5], [np.nextafter(0.5, 1)], [-1.0], [np.nan]])
    # NaN goes left by default, and there it is taken for 0.
    assert run(booster_trees.list_lightgbm(Booster()), rows).ravel().tolist() == [2, 4, 1, 2]


@pytest.mark.parametrize(("threshold", "left"), [(-1e-36, False), (-float(np.float32(1e-35)), False), (0.0, True)])
def test_lightgbm_takes_tiny_numbers_for_zero(threshold: float, left: bool) -> None:
    tiny = float(np.float32(1e-35))
    rows = np.array([[-tiny], [0.0], [tiny], [np.nextafter(tiny, 1)], [np.nextafter(-tiny, -1)]])
    found = run(booster_trees.list_lightgbm(Booster(root={"threshold": threshold})), rows).ravel().tolist()
    assert found == [*([2 if left else 4] * 3), 4, 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "lambdarank"}, "lambdarank"),
        ({"objective": "regression sqrt"}, "regression"),
        ({"objective": "binary sigmoid:2"}, "sigmoid: 2.0"),
        ({"average_output": True}, "regression"),
        ({"root": {"decision_type": "=="}}, "categorical splits"),
        ({"root": {"missing_type": "Zero"}}, "zeros that are missing"),
    ],
)
def test_what_has_no_graph_of_lightgbm_is_refused_with_the_other_way(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotTell, match=f"{said}.*--to native"):
        booster_trees.list_lightgbm(Booster(**changes))


def test_rows_at_thresholds_stand_there_or_one_step_beside() -> None:
    form = {"form": "columns", "columns": [{"dtype": "float64"}, {"dtype": "string"}]}
    hints = [Hint(values=[0.25]), Hint(kind="string", values=["a"])]
    made = many_answers.make_at_thresholds(form, hints, [[9.0, "b"]], 200, random.Random(0))
    steps = {np.nextafter(0.25, 0), 0.25, np.nextafter(0.25, 1)}
    steps |= {float(np.nextafter(np.float32(0.25), np.float32(side))) for side in (0, 1)}
    assert {row[0] for row in made} == {9.0, *steps}
    assert {row[1] for row in made} == {"b"}
    assert many_answers.make_at_thresholds({"form": "text"}, hints, ["x"], 5, random.Random(0)) == []
