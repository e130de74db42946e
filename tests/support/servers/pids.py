"""The processes of a server under test, and their states."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.support.servers.server import Server, marks, wait_for

# In a process's command line.
_ALONE = re.compile(r"/([^/ ]+)_alone/")


def triton(server: Server) -> int:
    """The one that runs now; wait until there is one."""
    found: list[int] = []

    def is_one() -> bool:
        found[:] = tritons(server)
        return len(found) == 1

    wait_for(is_one)
    return found[0]


def tritons(server: Server) -> list[int]:
    """All that run; a child that is about to become a model's process still has their name, also as an orphan."""
    return [pid for pid in _of(server, "tritonserver") if alive(pid) and _leads_a_group(pid)]


def adapters(server: Server) -> list[int]:
    """The adapter, or its workers and their parent."""
    return _of(server, "-m adapter")


def adapter(server: Server) -> int:
    """The adapter, or the parent of its workers."""
    candidates = adapters(server)
    (pid,) = [pid for pid in candidates if parent(pid) not in candidates]
    return pid


def _leads_a_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def stubs(server: Server, model: str = "") -> list[int]:
    """Processes of Triton models."""
    return [pid for pid in _of(server, "triton_python_backend_stub") if f"/{model}/" in command(pid) or not model]


def alone(server: Server) -> list[str]:
    """The models moved out of their packs, one for each process of theirs."""
    found = (_ALONE.search(command(pid)) for pid in stubs(server))
    return sorted(match[1] for match in found if match)


def stubs_at_home(server: Server) -> list[int]:
    """Processes of Triton models but those of models that were moved out of their packs."""
    return [pid for pid in stubs(server) if not _ALONE.search(command(pid))]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    return int(_stat(pid)[1])


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def state(pid: int) -> str:
    """As ps shows it: T is stopped, Z ended; '' where there is none."""
    try:
        return _stat(pid)[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z")


def cpu_seconds(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """The memory that a process has, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _of(server: Server, what: str) -> list[int]:
    wanted = tuple(f"SCHWIFT_FAMILY={mark}/".encode() for mark in marks(server.log.parent))
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or what not in command(int(path.name)):
            continue
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(variable.startswith(wanted) for variable in variables) and alive(int(path.name)):
            found.append(int(path.name))
    return found
