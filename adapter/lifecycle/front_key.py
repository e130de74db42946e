"""The mark of canaries for a front, which it answers by itself: so that to ask it costs the model nothing.

It is derived from the secret that the build writes for the front's own wake-ups (`runtime/wake.py`), where clients
cannot read it.
"""

from __future__ import annotations

from pathlib import Path

from converter.schema.manifest import ModelEntry
from converter.schema.wire import CANARY_SUFFIX, wake_key_path


def canary_id(repository: Path, entry: ModelEntry) -> str:
    """The request id that the front of an entry knows a canary by; empty where there is none, or it cannot be read.

    A front that does not know it passes the row on, as any other.
    """
    if entry.front is None:
        return ""
    try:
        key = (repository / wake_key_path(entry.front, entry.version)).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return key and key + CANARY_SUFFIX
