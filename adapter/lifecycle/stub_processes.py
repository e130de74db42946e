"""The processes in which Triton runs Python models, if it runs on this machine: how many, how large, whether gone.

Triton names each on its command line: its own process's number, and `<model>_<device>_<instance>`. In a container of
its own nothing of this is seen, and nothing is said.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from converter.schema.manifest import ModelEntry
from converter.schema.wire import EndProcess, KillModel, KillOrder

_log = logging.getLogger("schwift.adapter")

_PROC = Path("/proc")
_STUB = b"triton_python_backend_stub"
_SERVER = b"tritonserver"
# Places in the stub's arguments.
_PARENT, _NAME = 5, 8
_INSTANCE = re.compile(r"(.+)_\d+_\d+")
# The place of the start in /proc/…/stat, from the state on.
_START = 19
# Bytes of a /proc/…/stat, which has some 350.
_MOST_STAT = 4096
# The kernel counts the parts of shared pages in a millisecond, and what is resident at once: the former are counted
# again if the latter has changed by more than this part, and after so many seconds.
_SAME = 1 / 64
_COUNTED_SECONDS = 300.0
# States in /proc/…/stat: not there, or dead and not yet asked after; stopped by a signal or a debugger.
_GONE = ("", "Z", "X")
_STOPPED = ("T", "t")
# It ended before it was read, or meanwhile. Other errors (no file descriptor is left) say nothing about it.
_NO_PROCESS = (FileNotFoundError, ProcessLookupError)


class _Counted(NamedTuple):
    """What a process held, with its part of shared pages: `resident` is in pages, `size` in bytes."""

    when: float
    resident: int
    size: int

    def holds(self, now: float, resident: int) -> bool:
        """Return whether it can be told from what is resident that it still holds as much."""
        return now - self.when < _COUNTED_SECONDS and abs(resident - self.resident) <= _SAME * self.resident


class StubProcesses:
    """The processes of the Triton that listens on this gRPC port, as the last `scan` found them."""

    def __init__(self, grpc_address: str, proc: Path = _PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = b"--grpc-port=" + grpc_address.rpartition(":")[2].encode()
        self._proc = proc
        self._clock = clock
        self._counted: dict[int, _Counted] = {}
        # Whose pages were counted then: they share them.
        self._sharing: set[int] = set()
        self._pids: dict[str, tuple[int, ...]] = {}
        # When those began that were unloaded, and may be there still.
        self._retired: dict[int, int] = {}
        # Whether that Triton was seen.
        self.there = False

    def scan(self) -> None:
        """Find the processes of all models; it takes some milliseconds.

        If they cannot be told now, what was found before holds. If an instance has two, the younger one counts: Triton
        is loading it, or keeps the other one for nothing.
        """
        try:
            commands = list(self._commands())
            servers = {str(pid).encode() for pid, argv in commands if argv[0].endswith(_SERVER) and self._port in argv}
            youngest: dict[str, tuple[int, int]] = {}
            for pid, argv in commands:
                if len(argv) > _NAME and argv[0].endswith(_STUB) and argv[_PARENT] in servers:
                    instance, began = argv[_NAME].decode(errors="replace"), self._began(pid)
                    if began is not None and self._retired.get(pid) != began:
                        youngest[instance] = max(youngest.get(instance, (-1, 0)), (began, pid))
        except OSError as error:
            _log.warning("the models' processes cannot be looked for: %s", error)
            return
        found: dict[str, tuple[int, ...]] = {}
        for instance, (_, pid) in youngest.items():
            if name := _INSTANCE.fullmatch(instance):
                found[name[1]] = (*found.get(name[1], ()), pid)
        self._pids = found
        self.there = bool(servers)

    def retire(self, pids: Iterable[int]) -> None:
        """Count these processes no more, even while they are still there: their models were unloaded."""
        for pid in pids:
            # One that cannot be read now is gone, or goes on counting.
            with contextlib.suppress(OSError):
                if (began := self._began(pid)) is not None:
                    self._retired[pid] = began

    def retired(self, pid: int) -> bool:
        """Return whether this process was retired and is still there."""
        try:
            if pid in self._retired and self._began(pid) == self._retired[pid]:
                return True
        except OSError:
            # Cannot be told now.
            return True
        self._retired.pop(pid, None)
        return False

    def of(self, models: Iterable[str]) -> tuple[int, ...]:
        """Return the processes of these Triton models, as they were found, less those that were retired since."""
        return tuple(pid for model in models for pid in self._pids.get(model, ()) if pid not in self._retired)

    def alive(self, pid: int) -> bool:
        """Return whether a process goes on: a stopped one does, a dead one that nobody has asked after does not."""
        return self._state(pid) not in _GONE

    def all_alive(self, models: Iterable[str]) -> bool:
        """Return whether each process that was found of these Triton models goes on."""
        return all(self.alive(pid) for pid in self.of(models))

    def whole(self, entry: ModelEntry) -> bool:
        """Scan, and return whether none of an entry's processes is missing."""
        self.scan()
        names = entry.triton_models
        return self.all_alive(names) and all(len(self.of([name])) >= entry.instances_of(name) for name in names)

    def any_stopped(self, model: str) -> bool:
        """Return whether a signal or a debugger has stopped a process of this Triton model."""
        return any(self._state(pid) in _STOPPED for pid in self.of([model]))

    def measure(self, groups: Mapping[str, Iterable[str]]) -> dict[str, int]:
        """Scan, and return how many bytes the processes of each group of Triton models hold; 0 if that is not known.

        A page that several share counts in each by its part. It takes a millisecond for each process whose memory has
        changed, and for all of them if one came or went.
        """
        self.scan()
        if (sharing := {pid for pids in self._pids.values() for pid in pids}) != self._sharing:
            self._sharing = sharing
            self._counted.clear()
        return {name: sum(self._memory(pid) for pid in self.of(models)) for name, models in groups.items()}

    def _state(self, pid: int) -> str:
        """Return the kernel's letter for a process; empty if there is none, `?` if that cannot be told now."""
        try:
            return self._stat(pid)[0]
        except _NO_PROCESS:
            return ""
        except OSError:
            return "?"

    def _began(self, pid: int) -> int | None:
        """Return when a process began, in clock ticks since the machine's start; None if it is gone.

        Its number may be another's later, but not with the same time.
        """
        try:
            stat = self._stat(pid)
        except _NO_PROCESS:
            return None
        return None if stat[0] in _GONE else int(stat[_START])

    def _stat(self, pid: int) -> list[str]:
        """Return the fields of a process's `stat` that follow its name, which may have blanks."""
        # Each process is looked at each second: three system calls, and not the nine of a text file.
        descriptor = os.open(f"{self._proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, _MOST_STAT).decode(errors="replace")
        finally:
            os.close(descriptor)
        return text.rpartition(") ")[2].split()

    def _memory(self, pid: int) -> int:
        """Return the bytes that a process holds; 0 if that cannot be told."""
        folder, now = self._proc / str(pid), self._clock()
        try:
            resident = int((folder / "statm").read_bytes().split()[1])
            known = self._counted.get(pid)
            if known is not None and known.holds(now, resident):
                return known.size
            text = (folder / "smaps_rollup").read_text()
        except OSError:
            return 0
        found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
        size = int(found[1]) * 1024 if found else 0
        self._counted[pid] = _Counted(now, resident, size)
        return size

    def _commands(self) -> Iterator[tuple[int, list[bytes]]]:
        for path in self._proc.iterdir():
            if path.name.isdigit():
                try:
                    yield int(path.name), (path / "cmdline").read_bytes().split(b"\0")
                except (*_NO_PROCESS, PermissionError):
                    continue


class SupervisorPipe:
    """Asks `schwift serve`, which owns Triton's processes, over a pipe to end some."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        # Where nobody reads, nothing waits.
        os.set_blocking(pipe, False)

    def kill(self, model: str) -> bool:
        """Ask to end all processes of this Triton model; return whether the order could be sent."""
        return self._ask(KillModel(model))

    def end(self, pid: int) -> bool:
        """Ask to end this process, of any Triton model; return whether the order could be sent."""
        return self._ask(EndProcess(pid))

    def _ask(self, order: KillOrder) -> bool:
        try:
            os.write(self._pipe, order.line)
        except OSError:
            return False
        return True
