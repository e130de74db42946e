"""Have scipy.stats imported when it is used, and not because scikit-learn names it.

scikit-learn imports it in each process that loads an estimator, whichever: 11 MB and half a second, for a few functions
that few models call. While a model is loaded, a stand-in has its place among the imported modules. Whoever asks the
stand-in for anything but those functions gets the real module, imported at that moment; so does a call of one of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "scipy.stats"
# What scikit-learn's modules take from it when they are imported; all they do with these is to call them.
_CALLED_LATER = frozenset({"chi2", "gmean", "rankdata", "spearmanr"})
_lock = threading.Lock()


class _StandIn(ModuleType):
    """In the place of scipy.stats; `__path__` marks it as a package, of which `_Submodules` finds the rest."""

    def __init__(self) -> None:
        super().__init__(_NAME)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name in _CALLED_LATER:
            return _deferred(name)
        if name.startswith("__"):
            # What the import system and debuggers look for is no use of the library.
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        return getattr(_import_real(), name)


def _deferred(name: str) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return getattr(_import_real(), name)(*args, **keywords)

    call.__name__ = call.__qualname__ = name
    call.__module__ = _NAME
    return call


def _import_real() -> ModuleType:
    _remove_stand_in()
    # Outside the lock: whoever imports it meanwhile is waited for by the import system.
    return importlib.import_module(_NAME)


def _remove_stand_in() -> None:
    with _lock:
        if isinstance(sys.modules.get(_NAME), _StandIn):
            del sys.modules[_NAME]
        if _SUBMODULES in sys.meta_path:
            sys.meta_path.remove(_SUBMODULES)


class _Submodules(MetaPathFinder):
    """Finds modules inside scipy.stats while the stand-in is there; the loader has the real package imported first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        inside = fullname.startswith(f"{_NAME}.") and isinstance(sys.modules.get(_NAME), _StandIn)
        return ModuleSpec(fullname, _AfterPackage()) if inside else None


class _AfterPackage(Loader):
    """Imports the package, and then a module inside it, if the package has not done so itself."""

    def __init__(self) -> None:
        self._real: ModuleSpec | None = None
        self._loaded = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # Not in find_spec, where Python holds a lock that other imports need.
        _import_real()
        there = sys.modules.get(spec.name)
        if there is not None:
            self._real, self._loaded = there.__spec__, True
            return there
        self._real = importlib.util.find_spec(spec.name)
        if self._real is None:
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)
        return importlib.util.module_from_spec(self._real)

    def exec_module(self, module: ModuleType) -> None:
        real = self._real
        assert real is not None and real.loader is not None
        # The import system has just written ours there.
        module.__spec__, module.__loader__ = real, real.loader
        if not self._loaded:
            real.loader.exec_module(module)


_SUBMODULES = _Submodules()


@contextlib.contextmanager
def defer_stats() -> Iterator[None]:
    """Have scipy.stats imported within the block only if it is used; nothing changes if it is there already."""
    with _lock:
        if _NAME not in sys.modules:
            sys.modules[_NAME] = _StandIn()
            sys.meta_path.insert(0, _SUBMODULES)
    try:
        yield
    finally:
        # From now on whoever imports it gets it as ever.
        _remove_stand_in()
