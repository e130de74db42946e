"""Triton's account of a failed load as one sentence for /health."""

from __future__ import annotations

import re

from adapter.backend.protocol import LOAD_TIMEOUT
from converter.schema.wire import error_mark

# What the runtime writes in Triton's texts; a traceback may follow.
_SENTENCE = re.compile(re.escape(error_mark("load_error")) + r" ([^\n]+?)(?:\s+At:|\n|$)")
_RAISED = re.compile(re.escape(error_mark("model_error")) + r" (\w+)")


def load_reason(text: str) -> str:
    """Triton's account of a failed load as one sentence for /health.

    The runtime's own sentences as they are; of a user's exception its type alone, since its text may hold anything.
    """
    if found := _SENTENCE.search(text):
        return found.group(1).strip()
    if found := _RAISED.search(text):
        return f"the model's code raised {found.group(1)} while it was loaded: the server's log has the details"
    if text.startswith(LOAD_TIMEOUT):
        return text
    return "Triton could not load it: the server's log has the details"
