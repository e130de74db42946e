"""Pickles that run something when they are loaded, each in another way: what scanners of block-lists let through too.

A payload makes the file that `canary` names. Nothing here loads any of them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zlib
from pathlib import Path
from typing import Any

import joblib
import lz4.frame
import numpy as np

from tests.support.attacks.pickle_arrays import arrays
from tests.support.attacks.pickle_opcodes import called, named, push, state_with, whole


def _shell(canary: Path) -> bytes:
    return called("os", "system", f"touch {canary}")


def _joblib(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


class _Payload:
    """Pickled as a call of os.system."""

    def __init__(self, canary: Path) -> None:
        self._command = f"touch {canary}"

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self._command,)


def _npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([value], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def shapes(canary: Path) -> dict[str, bytes]:
    """The same payload in every wrapping: all but `npy` are read by joblib too."""
    payload = _Payload(canary)
    plain = pickle.dumps(payload)
    made = {f"protocol_{protocol}": pickle.dumps([payload], protocol) for protocol in range(6)}
    return made | {
        "zlib": zlib.compress(plain),
        "gzip": gzip.compress(plain),
        "bz2": bz2.compress(plain),
        "xz": lzma.compress(plain),
        "lzma": lzma.compress(plain, format=lzma.FORMAT_ALONE),
        "lz4": lz4.frame.compress(plain),
        "nested_in_a_model": _joblib({"coef_": np.arange(4.0), "classes_": [payload]}),
        "pickle_in_pickle": whole(called("pickle", "loads", plain)),
        "pickle_in_pickle_in_c": whole(called("_pickle", "loads", plain)),
        "object_array": _joblib(np.array([payload], dtype=object)),
        # What scanners that do not pass over the bytes of an array never reach.
        "behind_an_array": _joblib([np.frombuffer(b".0c" * 80, np.uint8), payload]),
        "behind_a_padded_array": _joblib([np.arange(3, dtype=np.uint8), np.arange(1000.0), payload]),
        "memo": whole(named("os", "system") + b"q\x050h\x05" + push((f"touch {canary}",)) + b"R"),
        "memo_of_a_name": whole(
            b"X\x02\x00\x00\x00osq\x01X\x06\x00\x00\x00systemq\x020"
            + b"0h\x01h\x02\x93"
            + push((f"touch {canary}",))
            + b"R",
            4,
        ),
        "inst": b"(" + push(f"touch {canary}", 0) + b"ios\nsystem\n.",
        "obj": b"(" + named("os", "system") + push(f"touch {canary}", 0) + b"o.",
        "newobj": whole(named("subprocess", "Popen") + push(()) + b"\x81"),
        "python_2_name": called("__builtin__", "eval", f"open({str(canary)!r}, 'w')") + b".",
        "name_with_dots": whole(b"X\x0c\x00\x00\x00sklearn.baseX\x0c\x00\x00\x00warnings.sys\x93", 4),
        "method_with_dots": whole(
            b"X\x07\x00\x00\x00sklearnX\x09\x00\x00\x00os.system\x93" + push((f"touch {canary}",)) + b"R", 4
        ),
        "computed_name": whole(
            b"X\x02\x00\x00\x00os" + called("builtins", "str", "system") + b"\x93" + push((f"touch {canary}",)) + b"R",
            4,
        ),
        "npy": _npy(payload),
    }


def _sklearn(module: str, name: str, state: bytes) -> bytes:
    """An estimator whose state is made by these opcodes."""
    return whole(named(f"sklearn.{module}", name) + b")\x81" + state + b"b")


def structures(canary: Path) -> dict[str, bytes]:
    """No call that is bad by its name: what is built, patched, kept for later, or read by another program."""
    return patched_and_kept() | read_by_others(canary) | unusual_objects() | arrays(canary)


def patched_and_kept() -> dict[str, bytes]:
    """What is changed in a library, or called by it later."""
    estimator = named("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    return {
        "extension_code": whole(b"\x82\x01"),
        "persistent_id": b"Pos.system\n.",
        "binary_persistent_id": whole(push("os.system") + b"Q"),
        "patched_class": whole(named("sklearn.base", "BaseEstimator") + state_with("__reduce__", b"N") + b"b"),
        "patched_module": whole(named("sklearn", "base") + state_with("clone", b"N") + b"b"),
        "patched_slots": whole(
            named("sklearn.base", "BaseEstimator") + b"N" + state_with("predict", named("os", "system")) + b"\x86b"
        ),
        "called_later": _sklearn(
            "preprocessing._function_transformer",
            "FunctionTransformer",
            state_with("func", named("pandas", "read_pickle")),
        ),
        "called_later_by_numpy": _sklearn(
            "preprocessing._function_transformer",
            "FunctionTransformer",
            state_with("func", named("numpy", "memmap")),
        ),
        "class_as_a_function": _sklearn(
            "preprocessing._function_transformer",
            "FunctionTransformer",
            state_with("func", named("joblib", "Memory")),
        ),
        "value_in_a_tuple": _sklearn(
            "base",
            "BaseEstimator",
            state_with("a", push((1, (2,)))[:-1] + b"0" + named("os", "system") + b"\x85\x85"),
        ),
        "overwritten_later": whole(
            estimator
            + b")\x81"
            + b"}q\x07"
            + push("func")
            + named("os", "system")
            + b"s"
            + b"b0h\x07"
            + push("func")
            + b"Ns."
        ),
    }


def read_by_others(canary: Path) -> dict[str, bytes]:
    """What another program makes of a text or of a number."""
    code = f"\nopen({str(canary)!r}, 'w').close()\ndef _parse_args(self, loc=0, scale=1):\n    return (), loc, scale\n"
    uniform = named("scipy.stats._continuous_distns", "uniform_gen") + b")\x81"
    return {
        "default_factory": whole(named("collections", "defaultdict") + named("os", "getcwd") + b"\x85R"),
        "template_of_scipy": whole(uniform + b"}" + push("_parse_arg_template") + push(code) + b"sb"),
        "random_ctor": whole(
            named("numpy.random._pickle", "__randomstate_ctor")
            + push(f"touch {canary}")
            + named("os", "system")
            + b"\x86R"
        ),
        "codec": whole(called("_codecs", "encode", "x", "antigravity")),
        "formula": whole(
            named("statsmodels.base.data", "PandasData")
            + b")\x81"
            + state_with("formula", push("__import__('os').system('x')"))
            + b"b"
        ),
        "formula_in_a_bunch": whole(
            b"]"
            + named("statsmodels.regression.linear_model", "RegressionResults")
            + b")\x81a"
            + named("sklearn.utils._bunch", "Bunch")
            + b")\x81"
            + push("design_info")
            + push("__import__('os')")
            + b"sa"
        ),
        "pointer_of_a_booster": whole(
            named("xgboost.core", "Booster") + b")\x81" + state_with("handle", push(4096)) + b"b"
        ),
    }


def unusual_objects() -> dict[str, bytes]:
    """Objects of numpy and others that are made or used in a way that no library writes."""
    estimator = named("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    return {
        "dtype_without_objects": whole(
            named("numpy", "dtype")
            + push(("O8", False, True))
            + b"R"
            + push((3, "|", None, None, None, -1, -1, 0))
            + b"b"
        ),
        "dtype_with_objects": whole(
            named("numpy", "dtype")
            + push(("f8", False, True))
            + b"R"
            + push((3, "<", None, None, None, -1, -1, 63))
            + b"b"
        ),
        "dtype_that_is_shared": whole(called("numpy", "dtype", "f8", False, False)),
        "dropped_import": whole(named("antigravity", "webbrowser") + b"0N"),
        "bound_method": whole(named("builtins", "getattr") + estimator + b")\x81" + push("__init__") + b"\x86R"),
        "items_of_a_module": whole(named("sys", "modules") + push("os") + b"Ns"),
        "items_of_a_class": whole(named("sklearn.base", "BaseEstimator") + push("x") + b"a"),
        "call_of_an_instance": whole(estimator + b")\x81" + b")R"),
        # An object that is made another way than usual is the same object.
        "dtype_by_newobj": whole(
            named("numpy", "dtype")
            + push(("O8", False, True))
            + b"\x81"
            + push((3, "|", None, None, None, -1, -1, 0))
            + b"b"
        ),
        "partial_by_newobj": whole(named("functools", "partial") + named("numpy", "mean") + b"\x85\x81"),
        "bunch_for_a_model": whole(
            named("statsmodels.regression.linear_model", "RegressionResults")
            + b")\x81"
            + state_with("model", named("sklearn.utils._bunch", "Bunch") + b")\x81")
            + b"b"
        ),
    }
