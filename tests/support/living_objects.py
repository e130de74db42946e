"""What the process holds on to."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType


def living(kind: type) -> int:
    """How many objects of exactly this class there are."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def texts_in(start: object) -> set[str | bytes]:
    """All texts that an object holds, however deep; code and classes are left out."""
    seen: dict[int, object] = {}
    left = [start]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType | BuiltinFunctionType):
            seen[id(one)] = one
            left += gc.get_referents(one)
    return {one for one in seen.values() if isinstance(one, str | bytes)}
