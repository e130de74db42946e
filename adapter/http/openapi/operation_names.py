"""What models are called in generated code: names of functions and classes that never meet."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Collection

from adapter.http.openapi.value_schemas import squash

_APART = re.compile("[^a-z0-9]+")
# `predict_` before one name and `predict_batched_` before another are the same where the one begins so.
_BATCHED = "batched"


def name_models(names: Collection[str]) -> dict[str, str]:
    """Return for each model a name of small letters, digits and single underscores.

    `RF-10` is `rf_10`. If models differ in no more than case and signs, each has the digits of a checksum behind it,
    and so has one whose name begins with `batched` if it could be taken for another's. So a model's name changes only
    when a model comes or goes that it could be taken for.
    """
    keys = Counter(map(squash, names))
    found: dict[str, str] = {}
    taken: set[str] = set()

    def clashes(plain: str, key: str) -> bool:
        kept = squash(plain)
        rest = kept.removeprefix(_BATCHED)
        begins = rest != kept and (not rest or rest in keys or rest in taken)
        return begins or kept in taken or (kept != key and kept in keys)

    for name in sorted(names):
        key = squash(name)
        plain = _APART.sub("_", name.lower()).strip("_")
        if keys[key] > 1 or clashes(plain, key):
            plain = f"{plain}_{zlib.crc32(name.encode()):08x}"
        # Somebody may have made a name up that has such digits.
        while clashes(plain, key):
            plain += "_x"
        taken.add(squash(plain))
        found[name] = plain
    return found


def class_name(plain: str) -> str:
    """Return a name of `name_models` as classes have it: `IrisOnnx` for `iris_onnx`."""
    return "".join(word.capitalize() for word in plain.split("_"))
