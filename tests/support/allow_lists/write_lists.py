"""Writes converter/trust/allowed/*_generated.txt from what the other two scripts listed in several environments.

`python -m tests.support.allow_lists.write_lists FILE…` adds to the lists: older versions stay. What it leaves out, and
may be right all the same, stands in the *_reviewed.txt beside, by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from converter.trust.allow_list import FOLDER, format_list, read_list

PACKAGES = ("sklearn.", "imblearn.", "category_encoders.", "feature_engine.", "sklearn_pandas.", "statsmodels.")
# scipy is large, and few of its objects are in models.
SCIPY = ("scipy.stats._", "scipy.interpolate._", "scipy.sparse._", "scipy.optimize._optimize")
# Runs what it is given, in other processes; stands in for any estimator; turns formulas into code.
LEFT_OUT = ("sklearn.utils.parallel:", "sklearn.utils._mocking:", "statsmodels.formula.")
# Named as dangerous calls are, but methods of lists and frames, `re.compile` and `platform.system`.
HARMLESS = {"remove", "rename", "compile", "system"}
# Their __setstate__ was read: it sets attributes. converter/trust/state_rules.py looks at the states of some.
SETS_ATTRIBUTES = {
    "scipy.stats._distn_infrastructure:rv_generic", "statsmodels.base.wrapper:ResultsWrapper",
    "statsmodels.base.data:ModelData", "statsmodels.discrete.discrete_model:NegativeBinomial",
    "scipy.interpolate._interpolate:PPoly", "scipy.interpolate._interpolate:BPoly", "scipy.sparse._coo:coo_matrix",
    "scipy.interpolate._bsplines:BSpline", "scipy.interpolate._rbfinterp:RBFInterpolator",
    "sklearn.isotonic:IsotonicRegression", "sklearn.utils._bunch:Bunch",
    "sklearn.ensemble._hist_gradient_boosting.predictor:TreePredictor",
}  # fmt: skip
# What runs texts as code does it with a template that state_rules.py holds to its form.
RUNS_TEMPLATE = "scipy.stats._distn_infrastructure:rv_generic"
# Opens the files that clients name, only if its `input` says so.
READS_TEXTS = "sklearn.feature_extraction.text:"
LOSSES = ("_loss:", "sklearn._loss._loss:")


def main(files: list[str]) -> None:
    """Add to the lists."""
    found: dict[str, set[tuple[str, str]]] = {use: set() for use in ("make", "call", "fill", "refer")}
    for file in files:
        listed = json.loads(Path(file).read_text("utf-8"))
        for use, name in choose(listed.get("classes", {})):
            module, _, word = name.partition(":")
            found[use].add((module, word))
        for maker in listed.get("makers", ()):
            if maker.startswith(LOSSES):
                found["call"].add(tuple(maker.split(":")))
        found["refer"] |= {tuple(name.split(":")) for name in listed.get("functions", ())}
    for use, names in found.items():
        path = FOLDER / f"{use}_generated.txt"
        path.write_text(format_list(names | (read_list(path) if path.exists() else set())), "utf-8")


def choose(classes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what classes may be used for."""
    for name, about in classes.items():
        if not name.startswith((*PACKAGES, *SCIPY)) or name.startswith(LEFT_OUT):
            continue
        if about["kind"] in ("error", "tuple", "set"):
            continue
        if about["kind"] in ("namedtuple", "enum"):
            # Both are harmless whatever they are given.
            yield "call", name
        elif name.startswith("sklearn._loss._loss:Cy"):
            # Of scikit-learn 1.4 to 1.6 they go by their last name alone.
            for known in (name, name.removeprefix("sklearn._loss.")):
                yield "make", known
                yield "call", known
        elif not harms(name, about):
            yield "make", name
            if about["kind"] in ("dict", "list"):
                yield "fill", name


def harms(name: str, about: Mapping[str, Any]) -> bool:
    """Tell whether a class may do harm when it is made, filled, dropped or used, as far as can be told."""
    hooks = [hook.split(" of ") for hook in about.get("hooks", ())]
    dangers = set(about.get("dangers", ())) - HARMLESS
    if ["__setstate__", RUNS_TEMPLATE] in hooks:
        dangers.discard("exec")
    if name.startswith(READS_TEXTS):
        dangers.discard("open")
    takes_state = any(hook == "__setstate__" and owner not in SETS_ATTRIBUTES for hook, owner in hooks)
    intercepts = about["kind"] == "class" and any(hook == "__setattr__" for hook, _ in hooks)
    return bool(dangers) or takes_state or intercepts or any(hook == "__del__" for hook, _ in hooks)


if __name__ == "__main__":
    main(sys.argv[1:])
