"""States that do harm when an object of a well-known class takes them: they are run as code, or freed as a pointer."""

from __future__ import annotations

import re
from typing import Any

from converter.trust.argument_rules import CHECK_ARRAY

_DISTRIBUTION = "_parse_arg_template"
# scipy.stats runs this text (_distn_infrastructure.py: parse_arg_template): names of parameters are all that may vary.
_TEMPLATE_LINE = re.compile(
    r"|def _parse_args(_rvs|_stats)?\(self, [\w, ]*(loc=0, scale=1|loc=0)?(, size=None|, moments='mv')?\):"
    r"|    return (self\._argcheck_rvs)?\([\w, ]*\)?[\w, ]*(, size=size\)|, moments)?",
    re.ASCII,
)
# statsmodels runs these texts, and what it takes them from may be any object with such an attribute.
FORMULAS = {"formula", "design_info", "model_spec", "restore_design_info", "restore_model_spec"}
FORMULA_PROBLEM = (
    "a formula of statsmodels, which is run as code: fit the model with arrays or a DataFrame, without one"
)
_BOOSTERS = {("xgboost.core", "Booster"), ("lightgbm.basic", "Booster")}
# It may have attributes of any name, so it is no model and no data.
_BUNCH = ("statsmodels.tools.tools", "Bunch")
_BYTEARRAY = ("builtins", "bytearray")


def find_state_problem(kind: tuple[str, str], state: Any) -> str | None:
    """Return why an object of a class may not have a state; None if it may."""
    odd = f"an unusual state of {kind[0]}.{kind[1]}"
    if kind == ("functools", "partial"):
        return None if _is_check_array(state) else odd
    if kind[0].startswith("statsmodels.") and not _is_statistical(kind, state):
        return odd
    strict = kind in _BOOSTERS or kind[0].startswith("scipy.stats.")
    if strict and (type(state) is not dict or any(type(key) is not str for key in state)):
        return odd
    found = state[0] if type(state) is tuple and len(state) == 2 else state
    if type(found) is not dict:
        return None
    template = found.get(_DISTRIBUTION, "")
    if type(template) is not str or not all(_TEMPLATE_LINE.fullmatch(line) for line in template.split("\n")):
        return "a distribution of scipy whose state has code in it"
    if kind in _BOOSTERS and not all(_is_text(found.get(key)) for key in ("handle", "_handle")):
        return f"a pointer in the state of {kind[0]}.{kind[1]}"
    return None


def _is_statistical(kind: tuple[str, str], state: Any) -> bool:
    """Tell whether the model and the data of a statsmodels result are its own: it looks for formulas in them."""
    if kind == _BUNCH:
        return True
    if type(state) is not dict:
        # What Cython's classes have.
        return (state is None or type(state) is tuple) and kind[0].split(".")[-1].startswith("_")
    if any(type(key) is not str for key in state):
        return False
    wanted = {"model": "statsmodels.", "data": "statsmodels.base.data"}
    kinds = {key: getattr(state[key], "kind", None) or ("", "") for key in wanted if state.get(key) is not None}
    own = (found[0].startswith(wanted[key]) and found != _BUNCH for key, found in kinds.items())
    return all(own) and (kind[0] != "statsmodels.base.data" or not any(state.get(key) is not None for key in FORMULAS))


def _is_check_array(state: Any) -> bool:
    """Tell whether a functools.partial becomes scikit-learn's check of an array."""
    return (
        type(state) is tuple
        and len(state) == 4
        and getattr(state[0], "kind", None) == CHECK_ARRAY
        and state[1] == ()
        and type(state[2]) is dict
        and (state[3] is None or state[3] == {})
    )


def _is_text(value: Any) -> bool:
    """Tell whether this is a saved model; a bytearray is a call in older pickles."""
    return isinstance(value, str | bytes | bytearray | None) or getattr(value, "kind", None) == _BYTEARRAY
