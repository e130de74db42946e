"""Trees of any library → one node of ONNX that compares and adds in float64, as these libraries do themselves.

skl2onnx writes trees in float32 alone: near a threshold, or where probabilities are equal, labels change. The operator
TreeEnsemble of ai.onnx.ml 5 takes float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LEQ = 0
_SUM = 1


@dataclass
class Tree:
    """A binary tree by its nodes, 0 the root: `left` is where value <= `threshold`, -1 at a leaf.

    `missing_left` is where NaN goes, and `value` has each target's number at a leaf.
    """

    feature: npt.NDArray[np.int64]
    threshold: Floats
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    missing_left: npt.NDArray[np.bool_]
    value: Floats


@dataclass
class Ensemble:
    """What is added up: trees, each for the targets that are named, and `base`; then `link` makes the answer of it."""

    trees: Sequence[tuple[Tree, Sequence[int]]]
    base: Floats
    divisor: float = 1.0
    link: str = "identity"


def round_as_float32(thresholds: Floats) -> Floats:
    """Return for each t the largest float64 a with `x <= a` where `float32(x) <= t`: rounding keeps the order."""
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    middle = (below.astype(np.float64) + np.nextafter(below, np.float32(np.inf)).astype(np.float64)) / 2
    # A tie goes to the even neighbour.
    return np.where(middle.astype(np.float32) == below, middle, np.nextafter(middle, -np.inf))


def write_node(ensemble: Ensemble, targets: int) -> dict[str, Any]:
    """Write the attributes of TreeEnsemble. A leaf has one target, so a tree of several is written once for each."""
    from onnx import TensorProto, helper

    parts: dict[str, list[Any]] = {name: [] for name in _NODE_KEYS}
    roots: list[int] = []
    # Two that nothing leads to. ONNX Runtime to 1.23 takes a root for a leaf if its children, a node and a leaf, have
    # one number: with these no leaf has the number of a node beside it.
    leaves, leaf_targets = [0.0, 0.0], [0, 0]
    for tree, named in ensemble.trees:
        for place, target in enumerate(named):
            roots.append(len(parts["nodes_featureids"]))
            _add_tree(tree, parts, leaves, tree.value[:, place])
            leaf_targets += [target] * (len(leaves) - len(leaf_targets))
    numbers = {
        "nodes_splits": helper.make_tensor("splits", TensorProto.DOUBLE, [len(parts["splits"])], parts.pop("splits")),
        "leaf_weights": helper.make_tensor("weights", TensorProto.DOUBLE, [len(leaves)], leaves),
        "nodes_modes": helper.make_tensor(
            "modes", TensorProto.UINT8, [len(parts["nodes_featureids"])], [_LEQ] * len(parts["nodes_featureids"])
        ),
    }
    return {
        **parts, **numbers, "tree_roots": roots, "leaf_targetids": leaf_targets, "n_targets": targets,
        "aggregate_function": _SUM, "post_transform": 0,
    }  # fmt: skip


_NODE_KEYS = (
    "nodes_featureids", "splits", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs",
    "nodes_missing_value_tracks_true",
)  # fmt: skip


def _add_tree(tree: Tree, parts: dict[str, list[Any]], leaves: list[float], values: Floats) -> None:
    """Add a tree's inner nodes and leaves, which the operator numbers apart."""
    left, right = tree.left, tree.right
    if left[0] < 0:
        # The operator has no tree that is a leaf alone.
        left, right, values = np.array([1, -1, -1]), np.array([2, -1, -1]), np.repeat(values[:1], 3)
        tree = Tree(np.zeros(3, int), np.zeros(3), left, right, np.zeros(3, bool), tree.value)
    inner = left >= 0
    ids = np.where(inner, np.cumsum(inner) - 1 + len(parts["nodes_featureids"]), np.cumsum(~inner) - 1 + len(leaves))
    for side, children in (("true", left[inner]), ("false", right[inner])):
        parts[f"nodes_{side}nodeids"] += ids[children].tolist()
        parts[f"nodes_{side}leafs"] += (~inner[children]).astype(int).tolist()
    parts["nodes_featureids"] += tree.feature[inner].tolist()
    parts["splits"] += tree.threshold[inner].tolist()
    parts["nodes_missing_value_tracks_true"] += tree.missing_left[inner].astype(int).tolist()
    leaves += values[~inner].tolist()
