"""Answers that are compressed: for whom, from which size on, and not where others wait for it."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterable

# Predictions are compressed from this size on: with less, the work costs more than what it saves on the way.
LEAST_PREDICTIONS = 16 * 1024
# Documents and metrics, from this one on.
LEAST_DOCUMENT = 1024
# What takes the loop less than a millisecond.
_ON_LOOP_BYTES = 32 * 1024
# Numbers of JSON shrink to less than half at the first level; the others take three times as long for little.
_LEVEL = 1
VARY = (b"vary", b"accept-encoding")
Named = Iterable[tuple[bytes, bytes]]


def accepted_coding(named: Named) -> bytes | None:
    """Return the coding that a request's Accept-Encoding asks for: gzip before deflate, or None for none."""
    weights: dict[bytes, bool] = {}
    for name, value in named:
        if name == b"accept-encoding":
            for part in value.lower().split(b","):
                coding, _, weight = part.partition(b";")
                weights[coding.strip()] = not _is_zero(weight)
    others = weights.get(b"*", False)
    for coding, known in ((b"gzip", b"x-gzip"), (b"deflate", b"deflate")):
        if weights.get(coding, weights.get(known, others)):
            return coding
    return None


async def compress(content: bytes, coding: bytes) -> bytes:
    """Return a body in a coding; a large one is compressed in a thread, which zlib lets run beside the loop."""
    if len(content) <= _ON_LOOP_BYTES:
        return _compress(content, coding)
    return await asyncio.get_running_loop().run_in_executor(None, _compress, content, coding)


def _compress(content: bytes, coding: bytes) -> bytes:
    return gzip.compress(content, _LEVEL, mtime=0) if coding == b"gzip" else zlib.compress(content, _LEVEL)


def _is_zero(weight: bytes) -> bool:
    """Return whether `q=0`, with as many zeros behind a point, is what a weight says."""
    name, _, value = weight.strip().partition(b"=")
    return name.strip() == b"q" and value.strip().strip(b"0.") == b"" and value.strip() != b""
