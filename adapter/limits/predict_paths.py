"""Which paths are predictions, in whichever dialect; each is taken apart here and nowhere else."""

from __future__ import annotations

_V2 = b"/v2/models/"
_INFER = b"/infer"


def v2_prediction(path: bytes) -> tuple[bytes, bytes] | None:
    """Return the model's name and version, which may be empty, of a path as it was sent: that of a V2 inference."""
    if not (path.startswith(_V2) and path.endswith(_INFER)):
        return None
    name, slash, rest = path[len(_V2) : -len(_INFER)].partition(b"/")
    if not slash:
        return (name, b"") if name else None
    word, _, version = rest.partition(b"/")
    return (name, version) if name and word == b"versions" and version and b"/" not in version else None
