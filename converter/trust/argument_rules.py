"""What functions on the list may be called with: given the wrong thing, some do harm or import something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LATIN = {"latin1", "latin-1", "iso-8859-1"}
# HistGradientBoosting has this one, bound to arguments (sklearn, since 1.4).
CHECK_ARRAY = ("sklearn.utils.validation", "check_array")
_BIT_GENERATOR = ("numpy.random._pickle", "__bit_generator_ctor")


def takes_class(kind: tuple[str, str]) -> bool:
    """Tell whether a function makes an instance of the class that is its first argument, without arguments.

    Those are Cython's, and scikit-learn's of neighbors and metrics.
    """
    return kind[1].startswith("__pyx_unpickle_") or kind[1] == "newObj"


def check_call(kind: tuple[str, str], args: tuple[Any, ...]) -> str | None:
    """Return what is wrong with a call's arguments; classes and functions among them stand as (module, name)."""
    rule = _RULES.get(kind)
    if rule is None or rule(args):
        return None
    return f"a call of {kind[0]}.{kind[1]} with unusual arguments"


def _is_latin(args: tuple[Any, ...]) -> bool:
    # Other codecs are modules, and a name may be anything.
    return len(args) == 2 and type(args[0]) is str and args[1] in _LATIN


def _is_bit_generator(args: tuple[Any, ...]) -> bool:
    # The second is called with the first.
    return len(args) < 2 or args[1:] == (_BIT_GENERATOR,)


def _is_check_array(args: tuple[Any, ...]) -> bool:
    return args == (CHECK_ARRAY,)


def _is_entropy(args: tuple[Any, ...]) -> bool:
    # A method that discrete distributions of scipy keep.
    kind = getattr(args[0], "kind", None) if len(args) == 2 else None
    return kind is not None and kind[0].startswith("scipy.stats._") and args[1] == "_entropy"


_RULES: dict[tuple[str, str], Callable[[tuple[Any, ...]], bool]] = {
    ("_codecs", "encode"): _is_latin,
    ("builtins", "getattr"): _is_entropy,
    ("functools", "partial"): _is_check_array,
    ("numpy.random._pickle", "__randomstate_ctor"): _is_bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): _is_bit_generator,
}
