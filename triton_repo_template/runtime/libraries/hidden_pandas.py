"""Have scikit-learn imported without pandas."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


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
