"""Which paths are predictions, in whichever dialect; each is taken apart here and nowhere else."""

from __future__ import annotations

import re
from typing import Literal

_V2 = b"/v2/models/"
_INFER = b"/infer"
_V1 = re.compile(rb"/v1/models/([^/]+):predict", re.DOTALL)
_MLFLOW = re.compile(rb"(?:/models/([^/]+))?/invocations", re.DOTALL)


def v2_prediction(path: bytes) -> tuple[bytes, bytes] | None:
    """Return the model's name and version, which may be empty, of a path as it was sent: that of a V2 inference."""
    if not (path.startswith(_V2) and path.endswith(_INFER)):
        return None
    name, slash, rest = path[len(_V2) : -len(_INFER)].partition(b"/")
    if not slash:
        return (name, b"") if name else None
    word, _, version = rest.partition(b"/")
    return (name, version) if name and word == b"versions" and version and b"/" not in version else None


def scoring_prediction(path: bytes) -> tuple[Literal["v1", "mlflow"], bytes] | None:
    """Return the dialect and the model's name of a path as it was sent: that of a V1 prediction or MLflow invocation.

    The name is empty if the model is the one that is asked by default.
    """
    if (found := _V1.fullmatch(path)) is not None:
        return "v1", found[1]
    return None if (found := _MLFLOW.fullmatch(path)) is None else ("mlflow", found[1] or b"")
