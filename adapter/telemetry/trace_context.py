"""The trace that a call of Triton belongs to, for the connection that makes the call; without traces nobody asks."""

from __future__ import annotations

from contextvars import ContextVar

# W3C Trace Context, as lines of an HTTP head.
_lines: ContextVar[bytes] = ContextVar("call_headers", default=b"")
enter, leave = _lines.set, _lines.reset


def call_headers() -> bytes:
    """Return what `HttpInference` adds to the head of the call that is being made; empty outside of a trace."""
    return _lines.get()
