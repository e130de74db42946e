"""Which models this Python cannot serve, for want of the library that their backend needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from converter.discover import ModelSource

# What a backend imports; what a user's own class imports only its author knows.
_NEEDS = {"sklearn": "sklearn", "joblib": "joblib", "onnx": "onnxruntime", "torch": "torch"}
_PACKAGES = {"sklearn": "scikit-learn", "torch": "schwift[torch]"}


def set_apart(sources: Sequence[ModelSource]) -> tuple[tuple[ModelSource, ...], tuple[str, ...]]:
    """The models that can be served here, and a sentence for each of the others, with the remedy."""
    served: list[ModelSource] = []
    left_out: list[str] = []
    for source in sources:
        library = _NEEDS.get(source.spec.backend)
        if library is None or importlib.util.find_spec(library) is not None:
            served.append(source)
            continue
        left_out.append(
            f"{source.config}: {source.spec.name} is left out: it needs {library}, which is not installed here: "
            f"pip install '{_PACKAGES.get(library, library)}', or EXTRAS={library} docker compose up --build"
        )
    return tuple(served), tuple(left_out)
