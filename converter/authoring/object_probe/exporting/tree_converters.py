"""Teaches skl2onnx to write trees, and what is imputed, in float64: alone and as steps of what it knows to write."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import CannotTell
from .booster_trees import list_lightgbm, list_xgboost
from .double_trees import Ensemble, write_node
from .sklearn_trees import NAMES, list_isolation, list_sklearn

# TreeEnsemble is of 5, which skl2onnx writes nothing for; the whole graph is called that when it is made.
_OPSET_ML = 3
_OPSET = 13


def register(boosters_alone: bool) -> None:
    """Register the converters; with `boosters_alone` scikit-learn's trees stay float32."""
    if not boosters_alone:
        _register_imputer()
        _register_isolation()
    for kind in ("Classifier", "Regressor"):
        for pattern in () if boosters_alone else NAMES:
            module = "sklearn.tree" if pattern in ("DecisionTree{}", "ExtraTree{}") else "sklearn.ensemble"
            _register(module, pattern.format(kind), kind, list_sklearn)
        if "lightgbm" in sys.modules:
            _register("lightgbm", f"LGBM{kind}", kind, list_lightgbm)
        if "xgboost" in sys.modules:
            _register("xgboost", f"XGB{kind}", kind, list_xgboost)


def _register_imputer() -> None:
    """Have NaN replaced in float64, where ONNX Runtime has an operator for float32 alone; texts go skl2onnx's way."""
    from skl2onnx.common._registration import get_converter, register_converter
    from skl2onnx.common.data_types import DoubleTensorType

    usual = get_converter("SklearnSimpleImputer")

    def convert(scope: Any, operator: Any, container: Any) -> None:
        imputer, given = operator.raw_operator, operator.inputs
        if not all(isinstance(item.type, DoubleTensorType) for item in given) or _leaves_gaps(imputer):
            usual(scope, operator, container)
            return
        emit = _Emitter(scope, container)
        names = [item.full_name for item in given]
        value = names[0] if len(names) == 1 else emit("Concat", names, axis=1)
        emit(
            "Where",
            [emit("IsNaN", [value]), emit.constant(imputer.statistics_.tolist()), value],
            to=operator.outputs[0].full_name,
        )

    register_converter("SklearnSimpleImputer", convert, overwrite=True)


def _register_isolation() -> None:
    """Have the depths of isolation trees added; a row whose score is under the fit's offset is an outlier, -1."""
    from skl2onnx.common._registration import get_converter, register_converter
    from skl2onnx.common.data_types import DoubleTensorType

    usual = get_converter("SklearnIsolationForest")

    def convert(scope: Any, operator: Any, container: Any) -> None:
        if not isinstance(operator.inputs[0].type, DoubleTensorType):
            usual(scope, operator, container)
            return
        ensemble, emit = list_isolation(operator.raw_operator), _Emitter(scope, container)
        given = operator.inputs[0].full_name
        depth = emit("TreeEnsemble", [given], "ai.onnx.ml", _OPSET_ML, **write_node(ensemble, 1))
        part = emit("Neg", [emit("Div", [depth, emit.constant([ensemble.divisor])])])
        score = emit("Neg", [emit("Pow", [emit.constant([2.0]), part])])
        above = emit("Sub", [score, emit.constant([float(operator.raw_operator.offset_)])])
        emit("Identity", [above], to=operator.outputs[1].full_name)
        outlier = emit("Less", [above, emit.constant([0.0])])
        emit("Where", [outlier, emit.integers([-1]), emit.integers([1])], to=operator.outputs[0].full_name)

    register_converter("SklearnIsolationForest", convert, overwrite=True, options={"score_samples": [True, False]})


def _leaves_gaps(imputer: Any) -> bool:
    """Tell whether an imputer drops columns or adds some, or looks for another value than NaN."""
    nothing = np.isnan(np.asarray(imputer.statistics_, np.float64)).any()
    return bool(nothing or imputer.add_indicator or imputer.missing_values == imputer.missing_values)


def _register(module: str, name: str, kind: str, list_trees: Callable[[Any], Ensemble]) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator

    classifies = kind == "Classifier"
    shapes = getattr(shape_calculator, f"calculate_linear_{kind.lower()}_output_shapes")
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [False]}
    update_registered_converter(
        getattr(importlib.import_module(module), name),
        f"Schwift{name}",
        functools.partial(_promise, shapes),
        functools.partial(_convert, list_trees),
        options=options if classifies else None,
    )


def _promise(shapes: Callable[[Any], None], operator: Any) -> None:
    """Say what an estimator gives: float64 if it gets that, whatever skl2onnx thinks of trees."""
    from skl2onnx.common.data_types import DoubleTensorType

    shapes(operator)
    if isinstance(operator.inputs[0].type, DoubleTensorType):
        operator.outputs[-1].type = DoubleTensorType(operator.outputs[-1].type.shape)


def _convert(list_trees: Callable[[Any], Ensemble], scope: Any, operator: Any, container: Any) -> None:
    """Write one estimator: a converter as skl2onnx calls it."""
    from onnx import TensorProto

    ensemble = list_trees(operator.raw_operator)
    emit = _Emitter(scope, container)
    value = emit("Cast", [operator.inputs[0].full_name], to=TensorProto.DOUBLE)
    value = emit("TreeEnsemble", [value], "ai.onnx.ml", _OPSET_ML, **write_node(ensemble, len(ensemble.base)))
    if ensemble.divisor != 1.0:
        value = emit("Div", [value, emit.constant([ensemble.divisor])])
    if ensemble.base.any():
        value = emit("Add", [value, emit.constant(ensemble.base.tolist())])
    value = _link(emit, ensemble, value)
    if not hasattr(operator.raw_operator, "classes_"):
        _finish(emit, value, operator.outputs[0])
        return
    if len(ensemble.base) == 1:
        value = emit("Concat", [emit("Sub", [emit.constant([1.0]), value]), value], axis=1)
    best = emit("ArgMax", [value], axis=1, keepdims=0)
    labels = emit(
        "ArrayFeatureExtractor", [_write_classes(emit, operator.raw_operator.classes_), best], "ai.onnx.ml", 1
    )
    emit("Reshape", [labels, emit.integers([-1])], to=operator.outputs[0].full_name)
    _finish(emit, value, operator.outputs[1])


def _link(emit: _Emitter, ensemble: Ensemble, value: str) -> str:
    if ensemble.link == "sigmoid of the double":
        return emit("Sigmoid", [emit("Add", [value, value])])
    if ensemble.link == "softmax":
        return emit("Softmax", [value], axis=1)
    names = {"sigmoid": "Sigmoid", "exp": "Exp"}
    return emit(names[ensemble.link], [value]) if ensemble.link in names else value


def _finish(emit: _Emitter, value: str, output: Any) -> None:
    """Cast to what skl2onnx has promised to the steps behind."""
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType

    wanted = TensorProto.DOUBLE if isinstance(output.type, DoubleTensorType) else TensorProto.FLOAT
    if wanted == TensorProto.DOUBLE:
        emit("Identity", [value], to=output.full_name)
    else:
        emit.cast(value, wanted, output.full_name)


def _write_classes(emit: _Emitter, classes: Any) -> str:
    values = np.asarray(classes).tolist()
    if all(isinstance(item, str) for item in values):
        return emit.strings(values)
    if any(item != int(item) for item in values):
        raise CannotTell("classes that are no whole numbers have no graph: train with labels that are text")
    return emit.integers([int(item) for item in values])


class _Emitter:
    """Adds nodes one after the other, and names what they give."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def __call__(
        self, kind: str, inputs: list[str], domain: str = "", version: int = _OPSET, to: Any = None, **attributes: Any
    ) -> str:
        if kind == "Cast":
            return self.cast(inputs[0], to, self._name(kind))
        output = to or self._name(kind)
        self._add(kind, inputs, output, domain, version, attributes)
        return output

    def cast(self, value: str, kind: int, output: str) -> str:
        self._add("Cast", [value], output, "", _OPSET, {"to": kind})
        return output

    def constant(self, values: list[float]) -> str:
        from onnx import TensorProto

        return self._initialize(TensorProto.DOUBLE, values)

    def integers(self, values: list[int]) -> str:
        from onnx import TensorProto

        return self._initialize(TensorProto.INT64, values)

    def strings(self, values: list[str]) -> str:
        from onnx import TensorProto

        return self._initialize(TensorProto.STRING, [value.encode() for value in values])

    def _initialize(self, kind: int, values: list[Any]) -> str:
        name = self._name("constant")
        self._container.add_initializer(name, kind, [len(values)], values)
        return name

    def _name(self, kind: str) -> str:
        name: str = self._scope.get_unique_variable_name(f"schwift_{kind.lower()}")
        return name

    def _add(
        self, kind: str, inputs: list[str], output: str, domain: str, version: int, attributes: dict[str, Any]
    ) -> None:
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, inputs, [output], domain, version, name, **attributes)
