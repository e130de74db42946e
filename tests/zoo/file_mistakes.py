"""Files that are not what the config takes them for: damaged, swapped, of another kind or version, or wrong code."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import sklearn
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.zoo.mistake import Change, Draft, Mistake, edit, put
from tests.zoo.right_models import (
    FLOWERS,
    HOUSES,
    KINDS,
    PRICES,
    SPECIES,
    array,
    fitted_flowers,
    fitted_forest,
    fitted_houses,
    pickled,
    right_model,
)

_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1234\n"
_FILE = "model.joblib"


def save(model: Any) -> Change:
    """Put another object into the model's file."""
    return lambda draft: draft.put(_FILE, pickled(model()))


def _bare_model() -> Any:
    return fitted_flowers()[-1]


def _cut(draft: Draft) -> None:
    draft.put(_FILE, (draft.folder / _FILE).read_bytes()[:500])


def _as_gz(draft: Draft) -> None:
    draft.put("model.pkl.gz", gzip.compress((draft.folder / _FILE).read_bytes()))
    (draft.folder / _FILE).unlink()
    draft.edit(_FILE, "model.pkl.gz")


def _of_main(draft: Draft) -> None:
    """Save a class of the script that trained it."""
    draft.put(_FILE, b"\x80\x02c__main__\nMyModel\n)\x81.")


def _of_dill(draft: Draft) -> None:
    """Write what dill does of a class of the script."""
    made = b"cdill._dill\n_create_code\n(tRc__builtin__\n__main__\n"
    draft.put(_FILE, b"\x80\x02cdill._dill\n_create_function\n(" + made + b"tR.")


def _of_another_release(draft: Draft) -> None:
    content = (draft.folder / _FILE).read_bytes()
    draft.put(_FILE, content.replace(sklearn.__version__.encode(), b"1.2.2"))


def _of_another_module(draft: Draft) -> None:
    draft.put(_FILE, b"\x80\x02clightgbm.sklearn\nLGBMClassifier\n)\x81.")


def save_state_dict(draft: Draft) -> None:
    import torch

    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 1).state_dict(), file)
    draft.put("model.pt", file.getvalue())


def _eager(draft: Draft) -> None:
    import torch

    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 1), file)
    draft.put("model.pt", file.getvalue())


def _fixed_batch(draft: Draft) -> None:
    import onnx

    graph = onnx.load_from_string((draft.folder / "model.onnx").read_bytes())
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    draft.put("model.onnx", graph.SerializeToString())


def _zipmap(draft: Draft) -> None:
    import skl2onnx

    model = LogisticRegression(max_iter=500).fit(FLOWERS, KINDS)
    draft.put("model.onnx", skl2onnx.to_onnx(model, FLOWERS[:1].astype(np.float32)).SerializeToString())


def _other_graph(draft: Draft) -> None:
    """Swap the graph for one with its classes in another order, under the same shapes."""
    import skl2onnx

    model = LogisticRegression(max_iter=500).fit(FLOWERS, 2 - KINDS)
    options = {"zipmap": False}
    graph = skl2onnx.to_onnx(model, FLOWERS[:1].astype(np.float32), options=options)
    draft.put("model.onnx", graph.SerializeToString())


def code(old: str, new: str) -> Change:
    """Change the Python class."""

    def change(draft: Draft) -> None:
        text = (draft.folder / "model.py").read_text()
        assert old in text
        draft.put("model.py", text.replace(old, new))

    return change


def _other_columns() -> Any:
    return LinearRegression().fit(HOUSES.rename(columns={"year": "built"}), PRICES)


_RETURN = "np.asarray(X).sum(axis=1, keepdims=True) * self.factor"

MISTAKES = [
    Mistake("a pointer of Git LFS", "flowers", put(_FILE, _POINTER), "git lfs pull"),
    Mistake("a pointer of Git LFS, right sample", "flowers", put(_FILE, _POINTER), "git lfs pull", sample="right"),
    Mistake("an empty file", "flowers", put(_FILE, b""), "write the model's file again", sample="right"),
    Mistake("a file that is cut", "flowers", _cut, "write the model's file again", sample="right"),
    Mistake("a page of HTML as the file", "flowers", put(_FILE, "<!DOCTYPE html><html></html>"), "download"),
    Mistake("a graph as a pickle", "flowers",
            lambda draft: draft.put(_FILE, right_model("graph").files["model.onnx"]), "onnx"),
    Mistake("a network as a pickle", "flowers",
            lambda draft: draft.put(_FILE, right_model("network").files["model.pt"]), "backend torch"),
    Mistake("a pickle as a graph", "graph",
            lambda draft: draft.put("model.onnx", right_model("flowers").files[_FILE]), "sklearn|pickle"),
    Mistake("a pickle as a network", "network",
            lambda draft: draft.put("model.pt", right_model("flowers").files[_FILE]), "sklearn|pickle|torch.jit"),
    Mistake("backend onnx for a pickle", "flowers", edit("backend: sklearn", "backend: onnx"), "sklearn"),
    Mistake("backend sklearn for a graph", "graph", edit("backend: onnx", "backend: sklearn"), "onnx"),
    Mistake("a pickle that is zipped", "flowers", _as_gz, "", sample="right", harmless=True),
    Mistake("a class of the script", "flowers", _of_main, "module beside"),
    Mistake("a file of dill", "flowers", _of_dill, "joblib"),
    Mistake("a file of an old scikit-learn", "flowers", _of_another_release, "accept_skew|requirements",
            sample="right"),
    Mistake("a library that is not here", "flowers", _of_another_module, "pip install lightgbm"),
    Mistake("a dictionary of model and scaler", "flowers",
            save(lambda: {"scaler": StandardScaler(), "model": fitted_flowers()}), "predict"),
    Mistake("a list of models", "flowers", save(lambda: [fitted_flowers()]), "predict"),
    Mistake("an array", "flowers", save(lambda: FLOWERS), "predict"),
    Mistake("a model that is not fitted", "flowers", save(LogisticRegression), "fit", sample="right"),
    Mistake("a model that is not fitted, no sample", "flowers", save(LogisticRegression), "fit"),
    Mistake("a scaler for the model", "flowers", save(lambda: fitted_flowers()[0]), "predict|transform"),
    Mistake("a PCA for the model, right sample", "flowers", save(lambda: PCA(3).fit(FLOWERS)), "predict|transform",
            sample="right"),
    Mistake("a forgotten scaler, right sample", "flowers", save(_bare_model), "sample.json", sample="right"),
    Mistake("another model, right sample", "flowers", save(lambda: LogisticRegression(C=1e-3).fit(FLOWERS, SPECIES)),
            "sample.json", sample="right"),
    Mistake("another graph, right sample", "graph", _other_graph, "sample.json", sample="right"),
    Mistake("a regressor for the classifier", "flowers", save(fitted_houses), r"\b4\b|features|columns",
            sample="right"),
    Mistake("a model of other data", "flowers", save(lambda: fitted_forest(FLOWERS[:, :2])), r"\b2\b"),
    Mistake("a model of other columns", "houses", save(_other_columns), "built"),
    Mistake("a model of other columns, right sample", "houses", save(_other_columns), "built", sample="right"),
    Mistake("labels of numbers, not of names", "species",
            lambda draft: draft.put(_FILE, right_model("forest").files[_FILE]), "int64"),
    Mistake("a forest of two classes", "flowers",
            save(lambda: RandomForestClassifier(3).fit(FLOWERS[:100], SPECIES[:100])), r"\b2\b"),
    Mistake("a state dict", "network", save_state_dict, "torch.jit"),
    Mistake("an eager module", "network", _eager, "torch.jit|trusted"),
    Mistake("a graph of one row", "graph", _fixed_batch, "dynamic"),
    Mistake("a graph with ZipMap", "graph", _zipmap, "zipmap"),
    Mistake("a class by a wrong name", "scorer", edit("model:Scorer", "model:Score"), "Scorer"),
    Mistake("a module by a wrong name", "scorer", edit("model:Scorer", "scorer:Scorer"), "model"),
    Mistake("a class without its module", "scorer", edit("model:Scorer", "Scorer"), "module"),
    Mistake("a typo in kwargs", "scorer", edit("{factor: 2.0}", "{facto: 2.0}"), "factor"),
    Mistake("kwargs left out", "scorer", edit("\n    kwargs: {factor: 2.0}", ""), "factor"),
    Mistake("a class without predict", "scorer", code("def predict", "def score"), "predict"),
    Mistake("code with a bracket left open", "scorer", code("(axis=1, keepdims=True)", "(axis=1, keepdims=True"),
            r"model\.py:\d+"),
    Mistake("code that imports what is not here", "scorer", code("import numpy as np", "import nltk"), "nltk"),
    Mistake("code that prints what it should return", "scorer", code(f"return {_RETURN}", f"print({_RETURN})"),
            "None|return"),
    Mistake("code that answers a row for all", "scorer", code(_RETURN, "[[1.0]]"), "row"),
    Mistake("code that answers too wide", "scorer",
            code("axis=1, keepdims=True) * self", "axis=1, keepdims=True) * [1, 1] * self"), r"\b2\b"),
    Mistake("code that answers texts", "scorer", code(_RETURN, "[['a']] * len(X)"), "string|float64"),
    Mistake("code that takes the mean of its batch", "scorer",
            code(_RETURN, "(X - X.mean(axis=0)).sum(axis=1, keepdims=True)"), "batch|together|joined"),
    Mistake("code that takes the mean, own sample", "scorer",
            code(_RETURN, "(X - X.mean(axis=0)).sum(axis=1, keepdims=True)"), "batch|together|joined",
            sample="right"),
    Mistake("code that draws lots", "scorer", code(_RETURN, "np.random.rand(len(X), 1)"), "verify: false"),
    Mistake("code that raises a TypeError as it loads", "scorer",
            code("self.factor = factor", "self.factor = len(factor)"), "TypeError|factor"),
    Mistake("code that opens a file by its path there", "scorer",
            code("self.factor = factor", "self.factor = open('weights.txt')"), "weights.txt"),
    Mistake("an output that is too wide", "scorer", edit(f"output: {array(1)}", f"output: {array(2)}"),
            r"\b1\b"),
]  # fmt: skip
