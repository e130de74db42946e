"""Lists functions that models hold as values: `python list_functions.py > FILE`, as JSON; see list_classes.py.

numpy's ufuncs and scalar types, scipy's special functions, and what scikit-learn scores, selects and measures with.
"""

# Runs where nothing of this project is, on libraries without types.
# mypy: ignore-errors

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import types
import warnings

MODULES = (
    "sklearn.metrics", "sklearn.feature_selection", "sklearn.preprocessing", "scipy.spatial.distance",
    "imblearn.metrics",
)  # fmt: skip
# Where pickles of different versions look for them.
UMATH = ("numpy", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath")
SPECIAL = ("scipy.special", "scipy.special._ufuncs", "scipy.special._special_ufuncs")
# Their names, wherever they are: these read, write or fetch.
LEFT_OUT = ("load", "save", "read", "fetch", "open", "dump", "plot", "main", "parametrize", "import")


def main():
    """Print one JSON object with the names."""
    warnings.simplefilter("ignore")
    found = set()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import numpy

        for name, value in vars(numpy).items():
            if isinstance(value, numpy.ufunc):
                found |= {f"{module}:{value.__name__}" for module in UMATH}
            elif isinstance(value, type) and issubclass(value, numpy.generic):
                found |= {f"numpy:{name}", f"numpy:{value.__name__}"}
        special = importlib.import_module("scipy.special")
        for name, value in vars(special).items():
            if isinstance(value, numpy.ufunc):
                found |= {f"{module}:{name}" for module in SPECIAL}
        for package in MODULES:
            for name in list_modules(package):
                with contextlib.suppress(BaseException):
                    found |= list_functions(importlib.import_module(name))
    print(json.dumps({"functions": sorted(found)}, indent=0))


def list_modules(package):
    """Yield the names of a package's modules, but for its tests and plots."""
    with contextlib.suppress(ImportError):
        path = getattr(importlib.import_module(package), "__path__", None)
        yield package
        for item in pkgutil.walk_packages(path or (), package + ".") if path else ():
            if "test" not in item.name and "_plot" not in item.name:
                yield item.name


def list_functions(module):
    """List the functions that a module defines."""
    kinds = (types.FunctionType, types.BuiltinFunctionType)
    functions = (value for value in vars(module).values() if isinstance(value, kinds) or inspect.isroutine(value))
    names = {value.__name__ for value in functions if getattr(value, "__module__", None) == module.__name__}
    wanted = {name for name in names if name[0] != "_" and not any(word in name for word in LEFT_OUT)}
    return {f"{module.__name__}:{name}" for name in wanted}


main()
