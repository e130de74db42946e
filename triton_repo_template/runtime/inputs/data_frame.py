"""Columns, which cross as one tensor for each dtype → what the user's model takes: a DataFrame, if it knows names."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..batch import Arrays
from ..config import ModelConfig
from ..errors import LoadError
from .fitted_columns import fill_missing, find_categories, find_missing

# Libraries whose models take a DataFrame.
_LIBRARIES = {"catboost", "category_encoders", "imblearn", "lightgbm", "sklearn", "statsmodels", "xgboost"}
_MOST_NAMED = 20


@dataclass(frozen=True)
class _Column:
    """A column, and which one it is of the tensor that has all of its dtype."""

    name: str
    tensor: str
    index: int


def join_columns(model: Any, config: ModelConfig) -> Callable[[Arrays], Any]:
    """Return what makes a model's input of the tensors of its columns.

    That is a DataFrame, its columns in the order of the fit (`feature_names_in_`), else in the config's. A scikit-learn
    model that was fitted without names has an array of columns of one dtype, and an object that is of no library and
    has several inputs a mapping by name.

    Raises: LoadError if the model was fitted with other columns, or pandas is needed and missing.
    """
    columns = _read_columns(config)
    several = config.parameters["several_inputs"] == "1"
    fitted = _names_of_fit(model, {item.name for item in columns})
    if several and fitted is None and not _is_of_library(model):
        return lambda arrays: {item.name: arrays[item.tensor][:, item.index : item.index + 1] for item in columns}
    if fitted is not None:
        _check_names([item.name for item in columns], fitted, "input" if several else "columns")
        places = {item.name: item for item in columns}
        return _make_frames(model, [places[name] for name in fitted])
    width = getattr(model, "n_features_in_", None)
    # CatBoost says 0.
    if not isinstance(width, int) or width < 1 or len(config.inputs) > 1:
        return _make_frames(model, columns)
    if width != len(columns):
        raise LoadError(f"the model takes {width} features a row, and the config names {len(columns)} columns")
    return lambda arrays: arrays[columns[0].tensor]


def _read_columns(config: ModelConfig) -> list[_Column]:
    columns: list[_Column] = []
    counts = dict.fromkeys((item.name for item in config.inputs), 0)
    for name, tensor in json.loads(config.parameters["columns"]):
        columns.append(_Column(name, tensor, counts[tensor]))
        counts[tensor] += 1
    return columns


def _names_of_fit(model: Any, wanted: Collection[str]) -> list[str] | None:
    """Return the names that a model was fitted with, in order; None if it does not tell, or made them up itself.

    What LightGBM and CatBoost call them otherwise is believed only if they are those that the config has.
    """
    for attribute in ("feature_names_in_", "feature_name_", "feature_names_"):
        try:
            names = [str(name) for name in getattr(model, attribute)]
        except Exception:
            # It has none, or is not fitted, in words of its library.
            continue
        made_up = all(name in (f"Column_{i}", str(i)) for i, name in enumerate(names))
        if not made_up and (attribute == "feature_names_in_" or set(names) == set(wanted)):
            return names
    return None


def _is_of_library(model: Any) -> bool:
    return any(kind.__module__.split(".")[0] in _LIBRARIES for kind in type(model).__mro__)


def _check_names(named: Sequence[str], fitted: Sequence[str], key: str) -> None:
    known, given = set(fitted), set(named)
    missing = [name for name in fitted if name not in given]
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, missing, n=1)
            remedy = f"write {near[0]}" if near else f"remove it from {key}"
            raise LoadError(f"the config names the column {name}, which the model was not fitted with: {remedy}")
    if missing:
        shape = "shape: [-1, 1], " if key == "input" else ""
        lines = ", ".join(f"{{name: {json.dumps(name)}, {shape}dtype: float64}}" for name in missing[:_MOST_NAMED])
        more = ", …" if len(missing) > _MOST_NAMED else ""
        raise LoadError(
            f"the model was fitted with the column {missing[0]}, which the config does not name: add {lines}{more} to "
            f"{key}, with the dtype that it had"
        )


def _make_frames(model: Any, columns: Sequence[_Column]) -> Callable[[Arrays], Any]:
    """Return what makes a DataFrame with these columns, a block for each tensor, and each as the fit saw it."""
    import pandas as pd

    # Of each tensor, where its columns stand in the DataFrame, and which of the tensor they are.
    blocks: dict[str, tuple[list[int], list[int]]] = {}
    for place, item in enumerate(columns):
        places, indices = blocks.setdefault(item.tensor, ([], []))
        places.append(place)
        indices.append(item.index)
    names = pd.Index([item.name for item in columns])
    ready = [(tensor, np.array(places), np.array(indices)) for tensor, (places, indices) in blocks.items()]
    join = _find_quick_way(names)
    missing, categories = find_missing(model), dict.fromkeys(find_categories(model, list(names)), "category")

    def make(arrays: Arrays) -> Any:
        # A row each is a column; fancy indexing makes a copy, which the model may write to.
        blocks = [(arrays[tensor].T[indices], places) for tensor, places, indices in ready]
        if missing is not None:
            blocks = [
                (fill_missing(values, missing) if values.dtype == object else values, places)
                for values, places in blocks
            ]
        frame = join(blocks)
        return frame.astype(categories) if categories else frame

    return make


# Values of some columns, each a row, and where these columns stand.
_Blocks = Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def _find_quick_way(names: Any) -> Callable[[_Blocks], Any]:
    """Return what joins blocks to a DataFrame: pandas' own way if that is there, which is ten times as quick.

    From 3.0 on that is public. Before, it is what pyarrow uses; whether it does what it should, is tried.
    """
    import pandas as pd

    try:
        from pandas.api.internals import create_dataframe_from_blocks
    except ImportError:
        pass
    else:
        return lambda blocks: create_dataframe_from_blocks(list(blocks), pd.RangeIndex(blocks[0][0].shape[1]), names)
    probe = [(np.arange(2.0 * len(names)).reshape(len(names), 2), np.arange(len(names)))]
    try:
        if _join_as_pyarrow(probe, names).equals(_join_slowly(probe, names)):
            return lambda blocks: _join_as_pyarrow(blocks, names)
    except Exception:
        # Another pandas than those that are known.
        pass
    return lambda blocks: _join_slowly(blocks, names)


def _join_as_pyarrow(blocks: _Blocks, names: Any) -> Any:
    import pandas as pd
    from pandas.core import internals

    made = [internals.api.make_block(values, placement=places) for values, places in blocks]
    manager = internals.BlockManager(made, [names, pd.RangeIndex(blocks[0][0].shape[1])])
    return pd.DataFrame._from_mgr(manager, manager.axes)


def _join_slowly(blocks: _Blocks, names: Any) -> Any:
    import pandas as pd

    # The dtype is said, or pandas would look for another one in objects.
    parts = [pd.DataFrame(values.T, columns=names[places], dtype=values.dtype) for values, places in blocks]
    return pd.concat(parts, axis=1)[list(names)]
