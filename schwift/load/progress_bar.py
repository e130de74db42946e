"""One line on a terminal that says how far a measurement is; without a terminal there is none."""

from __future__ import annotations

import os
import sys

_WIDTH = 10


class ProgressBar:
    """Draws on standard error, over what it drew before."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def show(self, share: float, text: str) -> None:
        """Draw `share` of the bar, 0 to 1, and a text that is cut to the terminal's width."""
        if not self._is_shown:
            return
        filled = round(min(max(share, 0.0), 1.0) * _WIDTH)
        line = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {text}"
        print(f"\r\033[K{line[: _columns() - 1]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave an empty line."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _columns() -> int:
    """Return how wide the terminal is; one that does not know says 0."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
