"""Real processes that went their own ways, found by their mark and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from schwift import process_tree
from tests.support.processes import alive, wait_until

# Leaves a child behind that has a session of its own, and ends.
DESERTER = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + ".part", "w").write(str(os.getpid()))
        os.rename(sys.argv[1] + ".part", sys.argv[1])
        time.sleep(100)
"""


@pytest.fixture
def mark() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    yield name
    process_tree.end(name)


def start(mark: str, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=process_tree.marked(os.environ, mark), stdin=subprocess.DEVNULL)


def sleeper(mark: str) -> subprocess.Popen[bytes]:
    return start(mark, sys.executable, "-c", "import time; time.sleep(100)")


def test_a_deserter_is_found_and_ended(mark: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    assert start(mark, sys.executable, "-c", DESERTER, str(note)).wait(10) == 0
    wait_until(note.exists)
    pid = int(note.read_text())
    assert pid in process_tree.members(mark)
    process_tree.end(mark)
    wait_until(lambda: not alive(pid))
    assert process_tree.members(mark) == []


def test_a_family_has_branches_and_no_namesakes(mark: str) -> None:
    triton, adapter, other = sleeper(f"{mark}/triton"), sleeper(f"{mark}/adapter"), sleeper(f"{mark}x")
    try:
        wait_until(lambda: set(process_tree.members(mark)) == {triton.pid, adapter.pid})
        assert process_tree.members(f"{mark}/triton") == [triton.pid]
        process_tree.end(f"{mark}/triton")
        triton.wait(10)
        assert process_tree.members(mark) == [adapter.pid]
        assert (adapter.poll(), other.poll()) == (None, None)
    finally:
        process_tree.end(f"{mark}x")
        process_tree.end(mark)
        adapter.wait(10)
        other.wait(10)


def test_a_stopped_process_is_ended_too(mark: str) -> None:
    process = sleeper(mark)
    os.kill(process.pid, signal.SIGSTOP)
    process_tree.kill([process.pid])
    assert process.wait(10) == -signal.SIGKILL
    process_tree.kill([process.pid])


def test_the_stubs_of_a_model_are_those_that_run_its_file_in_any_version(mark: str, tmp_path: Path) -> None:
    def run(path: str, name: str = "/wheel/triton_python_backend_stub") -> subprocess.Popen[bytes]:
        """A process with the command line of a stub; the model's file is what Python runs."""
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import time; time.sleep(100)")
        return subprocess.Popen(
            [name, str(file), "schwift-1"], executable=sys.executable, env=process_tree.marked(os.environ, mark)
        )

    wanted = [run("repo/m_direct/1/model.py"), run("repo/m_direct/12/model.onnx")]
    others = [
        run("repo/m/1/model.py"),
        run("repo/m_direct/x/model.py"),
        run("m_direct/1/repo/m/1/model.py"),
        run("repo/m_direct/1/model.py", "/usr/bin/python3"),
    ]
    wait_until(lambda: set(process_tree.members(mark)) == {process.pid for process in wanted + others})
    found = process_tree.stubs(mark)
    assert sorted(pid for pid, model in found.items() if model == "m_direct") == sorted(each.pid for each in wanted)
    assert sorted(found.values()) == ["m", "m", "m_direct", "m_direct"]
    assert process_tree.stubs(f"{mark}/triton") == {}
    process_tree.kill([process.pid for process in wanted + others])
    for process in wanted + others:
        assert process.wait(10) == -signal.SIGKILL


ADOPT = """
import os, subprocess, sys, time
from schwift import process_tree

def start(code):
    return subprocess.Popen([sys.executable, "-c", code])

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]

process_tree.adopt_orphans()
own = start("import time; time.sleep(100)")
# Its child and its grandchild outlive it.
start("import os, time; parent = os.getpid(); os.fork() or os.fork(); os.getpid() == parent or time.sleep(0.1)").wait()
deadline = time.monotonic() + 10
while children() != [own.pid] and time.monotonic() < deadline:
    process_tree.reap_adopted([own.pid])
    time.sleep(0.01)
print(children() == [own.pid])
own.kill()
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
process_tree.reap_adopted([own.pid])
print(own.wait())
process_tree.reap_adopted([own.pid])
"""


def test_an_orphan_that_ends_is_waited_for_and_an_own_child_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPT], capture_output=True, text=True, timeout=30)
    assert done.stdout == "True\n-9\n", done.stderr
