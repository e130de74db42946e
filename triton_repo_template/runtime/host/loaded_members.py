"""Which models of a pack are in its host's memory: loaded when they are asked, and put away if it gets too much."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from .. import triton_io
from ..errors import ModelError, as_model_error
from .member import Member
from .running_note import RunningNote, key_block

# A load that failed is tried again by the first call after so long.
RETRY_SECONDS = 1.0
# A call that takes longer may have grown the process by much; and how often it is looked at otherwise.
_LONG_MICROS, _LOOK_SECONDS = 1000, 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(os.pread(_STATM, 64, 0).split()[1]) * _PAGE


class _Load:
    """A load that was asked for."""

    def __init__(self) -> None:
        self.future: Future[Member] = Future()
        self.failed_at: float | None = None


class LoadedMembers:
    """The members in memory, by key. One thread loads them, one after the other.

    Beyond `most_bytes` of growth together, those that were asked least lately are put away, and never the last one.
    `tell` is called with the keys of all whenever others are in memory, by that thread.
    """

    def __init__(
        self,
        load: Callable[[str], Member],
        note: RunningNote,
        most_bytes: int | None = None,
        file_bytes: Callable[[str], int] = lambda key: 0,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[Sequence[str]], None] = lambda keys: None,
    ) -> None:
        self._load = load
        self._note = note
        self._most_bytes = most_bytes
        self._file_bytes = file_bytes
        self._clock = clock
        self._tell = tell
        self._members: dict[str, Member] = {}
        self._loads: dict[str, _Load] = {}
        self._lock = threading.Lock()
        self._due: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._loading = False
        self._resident = resident_bytes()
        self._looked = 0.0
        self._largest = 0
        self.get = self._members.get
        threading.Thread(target=self._run, name="load", daemon=True).start()

    def ask(self, key: str) -> Future[Member]:
        """Return what a member's load comes to, which begins now unless it has begun, or has failed just now."""
        with self._lock:
            known = self._loads.get(key)
            if known is None or (known.failed_at is not None and self._clock() - known.failed_at >= RETRY_SECONDS):
                known = self._loads[key] = _Load()
                member = self._members.get(key)
                if member is not None:
                    del self._loads[key]
                    known.future.set_result(member)
                else:
                    self._due.put(functools.partial(self._load_one, key, known))
            return known.future

    def evict(self, key: str) -> None:
        """Put a member away, or what is being loaded, if it is there."""
        with self._lock:
            self._loads.pop(key, None)
            self._remove(key)

    def count_growth(self, member: Member, micros: int) -> None:
        """Count what the process has grown by since the last look as the member's, which was called meanwhile.

        After short calls that is looked at now and then: a model that is called often is met then, too.
        """
        if micros < _LONG_MICROS and member.used - self._looked < _LOOK_SECONDS:
            return
        self._looked = member.used
        resident = resident_bytes()
        # A load grows it too.
        if resident > self._resident and not self._loading:
            member.size += resident - self._resident
            self._note_size(member)
        self._resident = resident

    def describe(self) -> dict[str, Any]:
        """Describe this process and the members in its memory."""
        now = self._clock()
        with self._lock:
            members = {
                key: {"bytes": member.size, "used": round(max(0.0, now - member.used), 3)}
                for key, member in self._members.items()
            }
        return {"pid": os.getpid(), "members": members, "rss": resident_bytes()}

    def stop(self) -> None:
        """End the thread after the load that it is at."""
        self._due.put(None)

    def _run(self) -> None:
        while (due := self._due.get()) is not None:
            due()

    def _load_one(self, key: str, load: _Load) -> None:
        if self._loads.get(key) is not load:
            load.future.set_exception(ModelError("the model was put away before it was loaded"))
            return
        started, before, modules = self._clock(), resident_bytes(), len(sys.modules)
        self._loading = True
        self._note.begin_load(key_block(key))
        try:
            member = self._load(key)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{key}: {traceback.format_exc()}")
            load.failed_at = self._clock()
            load.future.set_exception(as_model_error(error))
            return
        finally:
            self._note.end_load()
            self._loading = False
            self._resident = resident_bytes()
        member.used = self._clock()
        member.seconds = member.used - started
        grown = max(0, self._resident - before)
        # What came with its libraries is everybody's, and stays when it goes.
        member.size = grown if len(sys.modules) == modules else min(grown, self._file_bytes(key))
        with self._lock:
            # Unless it was put away meanwhile.
            if self._loads.get(key) is load:
                del self._loads[key]
                self._members[key] = member
                self._put_away_others(key)
        self._note_size(member)
        self._tell_keys()
        load.future.set_result(member)

    def _put_away_others(self, asked: str) -> None:
        if self._most_bytes is None:
            return
        others = sorted((member.used, key) for key, member in self._members.items() if key != asked)
        total = sum(member.size for member in self._members.values())
        for _, key in others:
            if total <= self._most_bytes:
                return
            total -= self._members[key].size
            self._remove(key)

    def _remove(self, key: str) -> None:
        if self._members.pop(key, None) is not None:
            # By the other thread, since it takes a while.
            self._due.put(_give_back)
            self._due.put(self._tell_keys)
            self._largest = 0

    def _tell_keys(self) -> None:
        with self._lock:
            keys = list(self._members)
        self._tell(keys)

    def _note_size(self, member: Member) -> None:
        if member.size > self._largest:
            self._largest = member.size
            self._note.note_growth(member.block, member.size)


def _give_back() -> None:
    """Give freed memory back to the system; glibc would keep most of it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
