"""Mistakes made with `schwift new`, and those that nobody can tell from the model's files."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.zoo.file_mistakes import save, save_state_dict
from tests.zoo.mistake import Change, Draft, Mistake, put
from tests.zoo.right_models import FLOWERS, HOUSES, KINDS, PRICES, fitted_flowers, fitted_forest, pickled, right_model

_FILE = "model.joblib"
_ROWS = ("--data", "rows.csv")
_SCALED = StandardScaler().fit_transform(FLOWERS)


def rows(array: Any, names: str = "") -> Change:
    """Put rows beside the model as the user's data."""
    lines = [",".join(map(str, row)) for row in np.asarray(array).tolist()]
    return put("rows.csv", "\n".join([*([names] if names else []), *lines]) + "\n")


def both(*changes: Change) -> Change:
    def change(draft: Draft) -> None:
        for each in changes:
            each(draft)

    return change


def _gz(draft: Draft) -> None:
    draft.put("model.pkl.gz", gzip.compress(right_model("flowers").files[_FILE]))


def _log_prices() -> Any:
    return LinearRegression().fit(HOUSES, np.log(PRICES))


def _real_rows(draft: Draft) -> None:
    """Save a forest of scaled values, and its answers to rows that no scaler has seen."""
    model = fitted_forest(_SCALED)
    draft.put(_FILE, pickled(model))
    draft.sample(draft.right.features, model.predict(draft.right.features).reshape(-1, 1).tolist())


_NAMES = "sepal_length,sepal_width,petal_length,petal_width"

MISTAKES = [
    Mistake("new: no such file", "flowers", put("a", ""), "no such file", new=("modle.joblib",)),
    Mistake("new: a notebook", "flowers", put("train.ipynb", "{}"), "trained model was saved to", new=("train.ipynb",)),
    Mistake("new: the data for the model", "flowers", rows(FLOWERS), "no model", new=("rows.csv",)),
    Mistake("new: a pointer of Git LFS", "flowers", put(_FILE, "version https://git-lfs.github.com/spec/v1\n"),
            "git lfs pull", new=(_FILE,)),
    Mistake("new: a state dict", "network", save_state_dict, "torch.jit", new=("model.pt",)),
    Mistake("new: a network of two inputs", "network", put("a", ""), "--input-shape left", new=("model.pt",)),
    Mistake("new: a method that is not there", "houses", put("a", ""), "only predict",
            new=(_FILE, "--method", "predict_proba")),
    Mistake("new: a class without its arguments", "scorer", put("a", ""), "--kwargs",
            new=("model.py:Scorer", "--input-shape", "3")),
    Mistake("new: a file of code", "scorer", put("a", ""), "model.py:", new=("model.py",)),
    Mistake("new: a class that is not there", "scorer", put("a", ""), "Scorer",
            new=("model.py:Score", "--input-shape", "3", "--kwargs", '{"factor": 2}')),
    Mistake("new: a pickle that is zipped", "flowers", _gz, "", sample="new",
            new=("model.pkl.gz", "--name", "model"), harmless=True),
    Mistake("new: a dictionary of model and scaler", "flowers", save(lambda: {"model": fitted_flowers()}),
            "save an object", new=(_FILE,)),
    Mistake("new: a model that is not fitted", "flowers", save(LogisticRegression), "fit",
            new=(_FILE, "--input-shape", "4")),
    Mistake("new: data with the target in it", "flowers", rows(np.column_stack([FLOWERS, KINDS])), "takes 4",
            new=(_FILE, *_ROWS)),
    Mistake("new: data of other columns", "houses", rows(HOUSES, "area,rooms,built"), "year", new=(_FILE, *_ROWS)),
    Mistake("new: data in another order, with names", "houses",
            rows(HOUSES[["year", "area", "rooms"]], "year,area,rooms"), "", sample="new", new=(_FILE, *_ROWS),
            harmless=True),
    Mistake("new: data in another order, without names", "houses", rows(HOUSES[["year", "area", "rooms"]]),
            "the model has seen", sample="new", new=(_FILE, *_ROWS), told=False),
    Mistake("new: data of texts", "flowers", rows([["a", "b", "c", "d"]] * 5, _NAMES), "raises|number",
            new=(_FILE, *_ROWS)),
    Mistake("new: a forest without its scaler", "forest", both(save(lambda: fitted_forest(_SCALED)), rows(FLOWERS)),
            "a scaler or another step", sample="new", new=(_FILE, *_ROWS), told=False),
    Mistake("new: data in millimetres", "flowers", rows(FLOWERS * 10), "the model has seen", sample="new",
            new=(_FILE, *_ROWS), told=False),
    Mistake("new: data that are scaled already", "flowers", rows(_SCALED), "the model has seen", sample="new",
            new=(_FILE, *_ROWS), told=False),
    Mistake("a forest without its scaler, sample of real rows", "forest", _real_rows, "the model has seen",
            sample="none", told=False),
    # What is right in itself, and wrong for whoever wanted something else.
    Mistake("a forest without its scaler", "forest", save(lambda: fitted_forest(_SCALED)), "", told=False),
    Mistake("a linear model without its scaler", "flowers", save(lambda: fitted_flowers()[-1]), "", told=False),
    Mistake("the logarithm of a price", "houses", save(_log_prices), "", told=False),
    Mistake("a model of other labels", "forest", save(lambda: fitted_forest(FLOWERS[::-1])), "", told=False),
    Mistake("numbers of classes, in another order", "forest",
            save(lambda: fitted_forest(FLOWERS).fit(FLOWERS, 2 - KINDS)), "", told=False),
]  # fmt: skip
