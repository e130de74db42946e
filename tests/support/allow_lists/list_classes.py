"""Lists the classes of the installed packages that models are made of: `python list_classes.py > FILE`, as JSON.

Runs in any environment, imports every module of those packages and nothing of this project. For each class it says what
is to be known before a pickle may make one: whether its own code, or that of its bases, runs texts as code, opens or
removes files or starts processes, and whether it does so when it is made, filled or dropped.
"""

# Runs where nothing of this project is, on libraries without types.
# mypy: ignore-errors

import ast
import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
import warnings

PACKAGES = (
    "sklearn", "scipy", "pandas", "lightgbm", "xgboost", "catboost", "statsmodels", "imblearn", "category_encoders",
    "feature_engine", "sklearn_pandas",
)  # fmt: skip
# Parts of a module's name: tests, data sets, files, plots, and what was only ever a trial.
LEFT_OUT = {
    "tests", "test", "testing", "_testing", "conftest", "datasets", "externals", "io", "_io", "excel", "formats",
    "plotting",
    "graphics", "sandbox", "examples", "f2py", "distutils", "setup", "setuptools", "memory", "_config", "config",
    "compat", "computation", "clipboard", "clipboards", "pytables", "dask", "spark", "widget", "monoforest", "callback",
    "tracker", "_build_utils", "show_versions", "_show_versions", "array_api_compat", "__main__", "cli", "tools_doc",
    "debugging", "_ccallback", "odr", "weave", "interfaces", "util", "iolib", "_test_common", "_pytest", "utilities",
}  # fmt: skip
DANGEROUS = {
    "eval", "exec", "compile", "__import__", "import_module", "open", "system", "popen", "Popen", "run_code", "rmtree",
    "remove", "unlink", "rmdir", "rename", "loads", "load", "read_pickle", "to_pickle", "memmap", "fromfile", "tofile",
    "CDLL", "check_output", "check_call", "import_optional_dependency", "urlopen", "savetxt", "genfromtxt", "loadtxt",
}  # fmt: skip
HOOKS = ("__del__", "__setstate__", "__setattr__", "__getattr__", "__new__", "__reduce__", "__reduce_ex__")


def main():
    """Print one JSON object: versions, classes, functions that make objects of Cython, and ufuncs."""
    warnings.simplefilter("ignore")
    classes, makers = {}, set()
    seen = {}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for package in PACKAGES:
            for name in list_modules(package):
                try:
                    module = importlib.import_module(name)
                except BaseException:
                    continue
                for key, value in sorted(vars(module).items(), key=lambda item: item[0]):
                    if key.startswith("__pyx_unpickle_"):
                        makers.add(f"{getattr(value, '__module__', name)}:{key}")
                    if isinstance(value, type) and value.__module__ == name and value.__qualname__ == key:
                        classes[f"{name}:{key}"] = describe(value, seen)
        seen_versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in (*PACKAGES, "numpy")}
    print(json.dumps({"versions": seen_versions, "classes": classes, "makers": sorted(makers)}, indent=0))


def list_modules(package):
    """Yield the names of a package's modules, but for those that no model is made of."""
    try:
        found = importlib.import_module(package)
    except ImportError:
        return
    yield package
    pending = [(found.__path__, package + ".")]
    while pending:
        path, prefix = pending.pop()
        for item in pkgutil.iter_modules(path, prefix):
            parts = item.name.split(".")
            if any(part in LEFT_OUT or part.startswith("test_") for part in parts):
                continue
            yield item.name
            if item.ispkg:
                with contextlib.suppress(BaseException):
                    pending.append((importlib.import_module(item.name).__path__, item.name + "."))


def describe(cls, seen):
    """Say what is to be known of a class."""
    found = {"kind": kind_of(cls)}
    dangers = sorted({word for base in own_bases(cls) for word in read_source(base, seen)})
    hooks = sorted({f"{hook} of {owner(cls, hook)}" for hook in HOOKS if owner(cls, hook)})
    setters = sorted({n for b in own_bases(cls) for n, v in vars(b).items() if isinstance(v, property) and v.fset})
    for key, value in (("dangers", dangers), ("hooks", hooks), ("setters", setters)):
        if value:
            found[key] = value
    return found


def kind_of(cls):
    """Return how it may be filled: `dict`, `list`, `set`; `namedtuple`, `enum`, `error`, or `class`."""
    if issubclass(cls, BaseException):
        return "error"
    if issubclass(cls, tuple):
        return "namedtuple" if any("__match_args__" in vars(base) for base in own_bases(cls)) else "tuple"
    if {"EnumMeta", "EnumType"} & {base.__name__ for base in type(cls).__mro__}:
        return "enum"
    return next((kind.__name__ for kind in (dict, list, set) if issubclass(cls, kind)), "class")


def own_bases(cls):
    """Return the class and those bases that are no builtins."""
    return [base for base in cls.__mro__ if base.__module__ != "builtins"]


def owner(cls, hook):
    """Return the class that has a hook: `module:name`, None for what every object has."""
    for base in own_bases(cls):
        usual = {("__setstate__", "BaseEstimator"), ("__new__", "Generic")}
        if hook in vars(base) and (hook, base.__name__) not in usual:
            return f"{base.__module__}:{base.__qualname__}"
    return None


def read_source(cls, seen):
    """List the dangerous names that a class's source calls; `?` if it has none that can be read."""
    if cls.__module__ not in seen:
        seen[cls.__module__] = read_module(cls.__module__)
    known = seen[cls.__module__]
    return known.get(cls.__qualname__, set() if cls.__module__ in ("abc", "typing", "numpy", "object") else {"?"})


def read_module(name):
    """List the dangerous names that the classes of a module call, by class."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except BaseException:
        return {}
    return {node.name: list_calls(node) & DANGEROUS for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def list_calls(tree):
    """List the last words of the names of what is called."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {getattr(call, "id", getattr(call, "attr", "")) for call in calls}


main()
