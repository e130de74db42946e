"""Why a model failed a request, for whoever asked: the first line of what it raised, with nothing of its input."""

from __future__ import annotations

import re
from collections.abc import Collection

from adapter import errors
from adapter.backend.error_mapping import failure_line, raised_in
from adapter.codec.large_bodies import LargeBody

_HIDDEN = "…"
_MOST = 300
# A quoted text, or a number that stands by itself.
_PART = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


def tell_reason(error: errors.AdapterError, body: bytes | LargeBody | None, names: Collection[str]) -> str:
    """Return what a model raised, or how its answer was wrong, as one line; empty if nothing is known of it.

    Numbers and quoted texts of the request's body are left out, and numbers with a fraction whatever the body has: they
    may be the body's in another form. `names` are those of the model's tensors and columns, which stay.
    """
    line = failure_line(error)
    sent = body.lower() if isinstance(body, bytes) else None

    def keep(found: re.Match[str]) -> str:
        part = found.group()
        word = part.strip("'\"")
        if word in names:
            return part
        if part == word and not word.lstrip("+-").isdigit():
            return _HIDDEN
        if sent is None or word.lower().encode() in sent:
            return _HIDDEN
        return part

    text = _PART.sub(keep, line)
    return text if len(text) <= _MOST else text[:_MOST] + _HIDDEN


def name_kind(error: errors.AdapterError) -> str:
    """Return what may be said of a failure to anybody: the exception's type, or how an answer was wrong."""
    return failure_line(error) if isinstance(error, errors.BadModelOutput) else raised_in(error.inside)
