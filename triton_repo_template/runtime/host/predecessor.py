"""Which models the processes of a pack have in memory, for the one that takes their place beside them, at a reload."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

# After the name of the host's Triton model.
_SUFFIX = ".loaded"


class Predecessor:
    """Tells what the process before has in memory, and then the next one what this one has.

    `folder` is that of the notes; without it, or if nothing can be written there, nobody is told.
    """

    def __init__(self, folder: str | None, host: str) -> None:
        self._path = Path(folder) / f"{host}{_SUFFIX}" if folder else None

    def list_loaded(self) -> list[str]:
        """List the keys of its models; none if it has ended, since one of them may have ended it."""
        if self._path is None:
            return []
        try:
            told = json.loads(self._path.read_bytes())
            pid, keys = int(told["pid"]), [str(key) for key in told["keys"]]
            # Empty if it has ended and nobody has taken notice yet.
            goes_on = bool(Path(f"/proc/{pid}/cmdline").read_bytes())
        except (OSError, ValueError, TypeError, KeyError):
            return []
        return keys if goes_on else []

    def tell(self, keys: Sequence[str]) -> None:
        """Tell the next process which models this one has in memory."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            fresh.write_text(json.dumps({"pid": os.getpid(), "keys": list(keys)}), encoding="utf-8")
            fresh.replace(self._path)
