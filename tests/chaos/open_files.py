"""The file descriptors of a process, in words that are the same for two of a kind."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

# Kept-alive connections that nobody uses are closed after two to four seconds (adapter/backend/connection_pool.py).
_UNUSED_MS = 5000


def open_files(pid: int, unused_ms: int = _UNUSED_MS) -> Counter[str]:
    """Each kind, and how many there are; TCP connections only where nothing came or went on them for so long.

    How many are in use tells nothing: each probe has one, and those of four models come when they will. One that is
    lost is not used any more.
    """
    targets = _targets(pid)
    sockets = _tcp_sockets(unused_ms) | _unix_sockets()
    kinds = (_kind(target, sockets) for target in targets)
    return Counter(kind for kind in kinds if kind)


def _targets(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # One that was closed since it was listed is not counted.
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(path))
    return found


def _kind(target: str, sockets: dict[str, str]) -> str:
    """Empty for a connection in use."""
    inode = re.fullmatch(r"socket:\[(\d+)\]", target)
    if inode:
        return sockets.get(inode[1], "a socket that is not connected")
    return re.sub(r":\[\d+\]$", "", target)


def _tcp_sockets(unused_ms: int) -> dict[str, str]:
    """Inode → its kind. Those that no process holds any more have none."""
    found = {}
    for line in _run("ss", "--tcp", "--all", "--numeric", "--info", "--extended", "--no-header", "--oneline"):
        inode = re.search(r"\bino:(\d+)", line)
        if inode is None:
            continue
        state, _, _, here, there = line.split()[:5]
        # Milliseconds since something was sent and received; ss leaves out what is 0.
        quiet = dict(re.findall(r"\blast(snd|rcv):(\d+)", line))
        unused = all(int(quiet.get(way, 0)) >= unused_ms for way in ("snd", "rcv"))
        if state == "LISTEN":
            found[inode[1]] = f"TCP {here}, listens"
        else:
            found[inode[1]] = f"TCP to {there}, unused" if unused else ""
    return found


def _unix_sockets() -> dict[str, str]:
    lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    rows = [line.split(maxsplit=7) for line in lines]
    return {row[6]: f"Unix socket {row[7] if len(row) > 7 else 'of a pair'}" for row in rows}


def _run(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
