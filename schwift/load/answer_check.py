"""Whether answers to the same request are the same, so far as rows that share a call with others can be."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import orjson

# A matrix product rounds float32 otherwise for other numbers of rows.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
# Answers to one request: those that are the same in other digits are few, those that differ may be without end.
_MOST_KNOWN = 1000


class AnswerCheck:
    """Compares each answer with the first one to the same request."""

    def __init__(self) -> None:
        self._first: dict[int, Any] = {}
        self._same: defaultdict[int, set[bytes]] = defaultdict(set)

    def is_same(self, number: int, body: bytes) -> bool:
        """Say whether this answer to request `number` is as the first: equal, or its numbers as far as they round."""
        same = self._same[number]
        if body in same:
            return True
        answer = _parse(body)
        if not _are_alike(self._first.setdefault(number, answer), answer):
            return False
        if len(same) < _MOST_KNOWN:
            same.add(body)
        return True


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return body


def _are_alike(one: Any, other: Any) -> bool:
    if float in (type(one), type(other)) and {type(one), type(other)} <= {float, int}:
        return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_are_alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_alike(value, other[name]) for name, value in one.items())
    return bool(one == other)
