"""Have scikit-learn imported without pandas."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator


def import_ahead(libraries: Iterable[str], frames: bool) -> None:
    """Import what a model's file will; what is missing is said when it is loaded. `frames`: it takes DataFrames."""
    # In a pack, others may be at work: nothing is hidden from them once it was imported without pandas.
    keep = frames or "sklearn" in sys.modules
    with contextlib.suppress(ImportError), contextlib.nullcontext() if keep else hide_pandas():
        for name in libraries:
            importlib.import_module(name)


@contextlib.contextmanager
def hide_pandas() -> Iterator[None]:
    """Let nobody import pandas for a moment.

    scikit-learn takes it along where it finds it, which costs each process 24 MB and a quarter of a second, and needs
    it for DataFrames alone. Who needs it later imports it as ever.
    """
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pandas"]
