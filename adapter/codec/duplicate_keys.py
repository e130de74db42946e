"""Whether a key stands twice in an object of a body, which decoders take silently: the last one would win.

Exact, and next to free for the bodies that clients send. Each key has one colon outside of strings, so if a decoder
found all `required` keys and there are no more colons than those, there are no other keys. Only if a string has a
colon, or an object more keys, is the body looked at again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

# A whole string of valid JSON.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


class DuplicateKey(Exception):
    """An object has this key twice."""


def may_have_more(body: bytes, required: int) -> bool:
    """Return whether valid JSON, with `required` keys that are known to be there, has more keys than those."""
    return body.count(b":") != required and _STRING.sub(b"", body).count(b":") != required


def check(body: bytes) -> None:
    """Raise DuplicateKey if a key stands twice in an object of valid JSON, RecursionError if it is too deep."""
    # Numbers need not be read: one of 5,000 digits is refused by int.
    json.loads(body, object_pairs_hook=_distinct, parse_int=len, parse_float=len)


def _distinct(pairs: Sequence[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(key)
            seen.add(key)
