"""The shared memory that Triton and its processes talk through: a region for each process, named on its command line.

Triton removes a region when it unloads the model. Not so where a process ended in a call: the version that we pin never
lets go of the failed call, which holds the model, until Triton itself ends. Its memory is given back here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

from schwift import process_tree

_SHM = Path("/dev/shm")
# A look reads the environment of every process on the machine.
_PERIOD_SECONDS = 10.0
# Triton notices a dead process after a second or two, and touches its memory no more.
_ABANDONED_SECONDS = 10.0
# A pause is so many looks long, since a look reads something of each process of the machine; but no longer than this.
_PAUSES, _LONGEST_SECONDS = 5000, 60.0
# For fallocate(2): keep the size, and give back the pages, which read as zeros from then on.
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def clear(prefix: str, folder: Path = _SHM) -> None:
    """Remove all regions with this prefix, which nobody needs any more."""
    for region in folder.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


class Sweep:
    """Gives back the regions with this prefix that no process of the tree of `mark` has had for 10 s or longer.

    `tick` is called every moment, and looks every 10 s for some milliseconds; each minute if a look takes longer.
    """

    def __init__(
        self, prefix: str, mark: str, clock: Callable[[], float] = time.monotonic, folder: Path = _SHM
    ) -> None:
        self._prefix = prefix
        self._mark = mark
        self._clock = clock
        self._folder = folder
        self._next = 0.0
        # Since when nobody has it, by its name.
        self._alone: dict[str, float] = {}

    def tick(self) -> None:
        """Look, if it is time to."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _PERIOD_SECONDS
        # Regions first: whoever makes one later is not among them.
        regions = {region.name for region in self._folder.glob(f"{self._prefix}*")}
        alone = regions - process_tree.words(self._mark) if regions else regions
        self._alone = {name: self._alone.get(name, now) for name in alone}
        for name, since in self._alone.items():
            if now - since >= _ABANDONED_SECONDS:
                _give_back(self._folder / name)
        took = self._clock() - now
        self._next = max(self._next, now + min(_PAUSES * took, _LONGEST_SECONDS))


def _give_back(region: Path) -> None:
    """Give back its pages and its name. Whoever has it mapped reads zeros; a file that was cut would hurt."""
    # Gone meanwhile.
    with contextlib.suppress(FileNotFoundError), open(region, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size:
            _LIBC.fallocate(file.fileno(), _KEEP_SIZE | _PUNCH_HOLE, 0, size)
        region.unlink()
