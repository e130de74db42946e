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
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from .. import triton_io
from ..errors import ModelError, as_model_error
from .member import Member
from .running_note import RunningNote, key_block
from .siblings import Siblings

# A load that failed is tried again by the first call after so long.
RETRY_SECONDS = 1.0
# A call that takes longer may have grown the process by much; and how often it is looked at otherwise.
_LONG_MICROS, _LOOK_SECONDS = 1000, 0.02
# A load that takes longer keeps the others waiting no more: they have another thread.
PATIENCE_SECONDS = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(os.pread(_STATM, 64, 0).split()[1]) * _PAGE


class _Load:
    """A load that was asked for at a time."""

    def __init__(self, asked: float) -> None:
        self.asked = asked
        self.future: Future[Member] = Future()
        self.failed_at: float | None = None


class LoadedMembers:
    """The members in memory, by key. One thread loads them, one after the other, and another one if it hangs in a load.

    Beyond `most_bytes` of growth together, those that were asked least lately are put away, and never the last one.
    The thread tells `siblings` whenever others are in memory; what one of these has put away goes here too.
    """

    def __init__(
        self,
        load: Callable[[str], Member],
        note: RunningNote,
        most_bytes: int | None = None,
        file_bytes: Callable[[str], int] = lambda key: 0,
        clock: Callable[[], float] = time.monotonic,
        siblings: Siblings | None = None,
    ) -> None:
        self._load = load
        self._note = note
        self._most_bytes = most_bytes
        self._file_bytes = file_bytes
        self._clock = clock
        self._siblings = siblings or Siblings(None, "")
        self._members: dict[str, Member] = {}
        self._loads: dict[str, _Load] = {}
        self._lock = threading.Lock()
        self._due: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # The thread that loads, and since when it is at a load; those before it end with theirs. Both with the lock.
        self._thread: threading.Thread | None = None
        self._load_began: float | None = None
        # What the note says is being loaded: the last load that began, until it ends.
        self._noted: _Load | None = None
        self._resident = resident_bytes()
        self._looked = 0.0
        self._largest = 0
        self.get = self._members.get
        self._start_thread()

    def ask(self, key: str) -> Future[Member]:
        """Return what a member's load comes to, which begins now unless it has begun, or has failed just now."""
        with self._lock:
            known = self._loads.get(key)
            if known is None or (known.failed_at is not None and self._clock() - known.failed_at >= RETRY_SECONDS):
                known = self._loads[key] = _Load(self._clock())
                member = self._members.get(key)
                if member is not None:
                    del self._loads[key]
                    known.future.set_result(member)
                else:
                    self._due.put(functools.partial(self._load_one, key, known))
            began = self._load_began
            if began is not None and self._clock() - began >= PATIENCE_SECONDS:
                self._start_thread()
            return known.future

    def evict(self, key: str) -> None:
        """Put a member away, or what is being loaded, if it is there; in the other processes too."""
        with self._lock:
            self._loads.pop(key, None)
            self._remove(key)
        self._siblings.tell_put_away(key, self._clock())

    def count_growth(self, member: Member, micros: int) -> None:
        """Count what the process has grown by since the last look as the member's, which was called meanwhile.

        After short calls that is looked at now and then: a model that is called often is met then, too.
        """
        if micros < _LONG_MICROS and member.used - self._looked < _LOOK_SECONDS:
            return
        self._looked = member.used
        resident = resident_bytes()
        # A load grows it too.
        if resident > self._resident and self._load_began is None:
            member.size += resident - self._resident
            self._note_size(member)
        self._resident = resident

    def describe(self) -> dict[str, Any]:
        """Describe this process and the members in its memory, and in that of the other processes of the host."""
        now = self._clock()
        others = [{"pid": other.pid, "members": other.members} for other in self._siblings.read()]
        with self._lock:
            members = {
                key: {"bytes": member.size, "used": round(max(0.0, now - member.used), 3)}
                for key, member in self._members.items()
            }
        return {"pid": os.getpid(), "members": members, "rss": resident_bytes(), "others": others}

    def stop(self) -> None:
        """End the thread after the load that it is at."""
        self._due.put(None)

    def _start_thread(self) -> None:
        self._load_began = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # So that the others know that it is there.
        self._tell_members()
        while threading.current_thread() is self._thread:
            try:
                due = self._due.get(timeout=self._siblings.look_seconds)
            except Empty:
                self._follow_siblings()
                continue
            if due is None:
                return
            due()

    def _follow_siblings(self) -> None:
        """Put away what another process has put away and nobody has asked here since, and tell what has grown."""
        for key, when in self._siblings.find_put_away().items():
            with self._lock:
                load, member = self._loads.get(key), self._members.get(key)
                if load is not None and load.asked <= when:
                    del self._loads[key]
                if member is not None and member.used <= when:
                    self._remove(key)
        self._tell_members()

    def _load_one(self, key: str, load: _Load) -> None:
        if self._loads.get(key) is not load:
            load.future.set_exception(ModelError("the model was put away before it was loaded"))
            return
        started, before, modules = self._clock(), resident_bytes(), len(sys.modules)
        with self._lock:
            self._load_began, self._noted = started, load
            self._note.begin_load(key_block(key))
        try:
            member = self._load(key)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{key}: {traceback.format_exc()}")
            load.failed_at = self._clock()
            load.future.set_exception(as_model_error(error))
            return
        finally:
            self._end_load(load)
            self._resident = resident_bytes()
        member.used = load.asked
        member.seconds = self._clock() - started
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
        self._tell_members()
        load.future.set_result(member)

    def _end_load(self, load: _Load) -> None:
        with self._lock:
            # One that hung says nothing of what is loaded now, by the thread in this one's place.
            if threading.current_thread() is self._thread:
                self._load_began = None
            if self._noted is load:
                self._noted = None
                self._note.end_load()

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
            self._due.put(self._tell_members)
            self._largest = 0

    def _tell_members(self) -> None:
        with self._lock:
            members = {key: member.size for key, member in self._members.items()}
        self._siblings.tell(members)

    def _note_size(self, member: Member) -> None:
        if member.size > self._largest:
            self._largest = member.size
            self._note.note_growth(member.block, member.size)


def _give_back() -> None:
    """Give freed memory back to the system; glibc would keep most of it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
