"""Triton's processes of Python models, found in a made-up /proc, and real ones in the real one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from tests.support.fakes.entries import make_entry


def process(proc: Path, pid: int, *argv: str, state: str = "S", pss_kb: int = 0, started: int = 0) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in argv) + b"\0")
    (folder / "stat").write_text(f"{pid} (odd ) name) {state} {'0 ' * 18}{started} 0 0\n")
    hold(proc, pid, pss_kb, resident=1000)


def hold(proc: Path, pid: int, pss_kb: int, resident: int) -> None:
    """Have a process hold so much; `resident` is in pages."""
    (proc / str(pid) / "statm").write_text(f"9999 {resident} 50 1 0 400 0\n")
    (proc / str(pid) / "smaps_rollup").write_text(f"00-ff ---p 0 0:0 0 [rollup]\nRss:  99 kB\nPss:  {pss_kb} kB\n")


def stub(proc: Path, pid: int, name: str, parent: int = 10, pss_kb: int = 0, started: int = 0) -> None:
    argv = ["/b/python/triton_python_backend_stub", "/r/m/1/model.py", "shm", "1", "1", str(parent), "/b", "336", name]
    process(proc, pid, *argv, "DEFAULT", pss_kb=pss_kb, started=started)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two Tritons; ours listens on 4001."""
    (tmp_path / "version").write_text("Linux\n")
    process(tmp_path, 10, "/p/tritonserver", "--http-port=4000", "--grpc-port=4001")
    process(tmp_path, 20, "/p/tritonserver", "--grpc-port=5001")
    process(tmp_path, 30, "python", "-m", "adapter")
    stub(tmp_path, 11, "m_direct_0_0", pss_kb=100)
    stub(tmp_path, 12, "m_0_0", pss_kb=10)
    stub(tmp_path, 13, "m_0_1", pss_kb=10)
    stub(tmp_path, 14, "other_1_direct_0_0", pss_kb=7)
    stub(tmp_path, 21, "m_direct_0_0", parent=20)
    return tmp_path


def found(proc: Path) -> StubProcesses:
    stubs = StubProcesses("127.0.0.1:4001", proc)
    stubs.scan()
    return stubs


def test_an_entry_is_whole_while_none_of_its_processes_is_missing_or_dead(proc: Path) -> None:
    entry = make_entry("m")
    assert found(proc).whole(entry)
    # Nor with one front, which is enough for one instance.
    shutil.rmtree(proc / "13")
    assert found(proc).whole(entry)
    stubs = found(proc)
    (proc / "12" / "stat").write_text(f"12 (name) Z {'0 ' * 18}0 0 0\n")
    assert not stubs.whole(entry)
    shutil.rmtree(proc / "12")
    assert not found(proc).whole(entry)
    # Two of the model, or no front.
    assert not found(proc).whole(make_entry("m", instances=2, endpoints=["predict"]))
    stub(proc, 15, "m_direct_0_1")
    assert found(proc).whole(make_entry("m", instances=2, endpoints=["predict"]))


def test_they_are_found_by_the_port_of_their_triton_and_by_their_names(proc: Path) -> None:
    stubs = found(proc)
    assert stubs.there
    assert stubs.of(["m_direct"]) == (11,)
    assert sorted(stubs.of(["m", "m_direct"])) == [11, 12, 13]
    assert stubs.of(["other_1_direct"]) == (14,)
    assert stubs.of(["other"]) == ()


def test_without_a_triton_on_this_machine_there_are_none_and_nothing_is_gone(proc: Path) -> None:
    stubs = StubProcesses("triton:8001", proc)
    stubs.scan()
    assert not stubs.there
    assert stubs.of(["m", "m_direct"]) == ()
    assert stubs.all_alive(["m", "m_direct"])
    assert stubs.measure({"m": ["m", "m_direct"]}) == {"m": 0}


@pytest.mark.parametrize("state", ["Z", "X"])
def test_one_that_ended_is_not_alive(proc: Path, state: str) -> None:
    stubs = found(proc)
    assert stubs.all_alive(["m", "m_direct"])
    (proc / "12" / "stat").write_text(f"12 (x) {state} 1\n")
    assert not stubs.all_alive(["m", "m_direct"])
    assert stubs.all_alive(["m_direct"])
    stubs.scan()
    assert stubs.of(["m"]) == (13,)


def test_one_that_is_stopped_is_alive_and_is_known_as_stopped(proc: Path) -> None:
    stubs = found(proc)
    (proc / "11" / "stat").write_text("11 (x) T 1\n")
    assert stubs.all_alive(["m_direct"])
    assert stubs.any_stopped("m_direct")
    assert not stubs.any_stopped("m")


def test_of_an_instance_that_has_two_the_younger_one_counts_whatever_its_number(proc: Path) -> None:
    """Another Triton's are none of ours."""
    stub(proc, 9, "m_0_0", started=70)
    stub(proc, 15, "m_0_1", started=80, pss_kb=5)
    stub(proc, 16, "m_0_0", started=60)
    stub(proc, 22, "m_direct_0_0", parent=20, started=90)
    stubs = found(proc)
    assert sorted(stubs.of(["m"])) == [9, 15]
    assert stubs.of(["m_direct"]) == (11,)
    assert stubs.measure({"m": ["m"]}) == {"m": 5 * 1024}
    (proc / "9" / "stat").write_text("9 (x) Z 1\n")
    assert not stubs.all_alive(["m"])
    stubs.scan()
    assert sorted(stubs.of(["m"])) == [15, 16]


def test_one_that_was_retired_counts_no_more_and_its_number_may_be_anothers_later(proc: Path) -> None:
    stubs = found(proc)
    stubs.retire([13, 99])
    assert stubs.of(["m"]) == (12,)
    assert (stubs.retired(13), stubs.retired(12), stubs.retired(99)) == (True, False, False)
    stubs.scan()
    assert stubs.of(["m"]) == (12,)
    shutil.rmtree(proc / "13")
    assert not stubs.retired(13)
    stub(proc, 13, "m_0_1", started=5)
    stubs.scan()
    assert sorted(stubs.of(["m"])) == [12, 13]
    stubs.retire([13])
    shutil.rmtree(proc / "13")
    stub(proc, 13, "m_0_1", started=6)
    assert not stubs.retired(13)


def test_what_they_hold_is_added_up(proc: Path) -> None:
    groups = {"m": ("m", "m_direct"), "other": ("other_1_direct",), "none": ("none",)}
    assert found(proc).measure(groups) == {"m": 120 * 1024, "other": 7 * 1024, "none": 0}


def test_pages_are_counted_again_once_a_process_or_the_set_of_them_has_changed(proc: Path) -> None:
    now = 0.0
    stubs, groups = StubProcesses("127.0.0.1:4001", proc, lambda: now), {"m": ["m", "m_direct"]}
    assert stubs.measure(groups) == {"m": 120 * 1024}
    hold(proc, 11, pss_kb=200, resident=1015)
    hold(proc, 12, pss_kb=20, resident=1020)
    now = 299.0
    assert stubs.measure(groups) == {"m": 130 * 1024}
    now = 301.0
    assert stubs.measure(groups) == {"m": 230 * 1024}
    hold(proc, 13, pss_kb=50, resident=1000)
    assert stubs.measure(groups) == {"m": 230 * 1024}
    # Who comes shares pages with the others.
    stub(proc, 17, "more_0_0")
    assert stubs.measure(groups) == {"m": 270 * 1024}


def named(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A shell that waits, and is called as a process of Triton is."""
    return subprocess.Popen([name, "-c", "read line", *arguments], executable="/bin/sh", stdin=subprocess.PIPE)


def test_real_processes_are_found_and_seen_to_stop_and_to_end() -> None:
    stubs = StubProcesses("127.0.0.1:1")
    with (
        named("/b/tritonserver", "--grpc-port=1") as triton,
        named("/b/triton_python_backend_stub", "1", "1", str(triton.pid), "/b", "336", "m_0_0") as child,
    ):
        ends = time.monotonic() + 5
        # A process that has just begun has no memory of its own yet.
        while not stubs.measure({"m": ["m"]}).get("m"):
            assert time.monotonic() < ends
        assert stubs.of(["m"]) == (child.pid,)
        assert not stubs.any_stopped("m")
        child.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + 5
        while not stubs.any_stopped("m"):
            assert time.monotonic() < ends
        assert stubs.alive(child.pid)
        child.kill()
        ends = time.monotonic() + 5
        while stubs.alive(child.pid):
            assert time.monotonic() < ends
        triton.kill()
    assert not stubs.alive(child.pid)
    assert not stubs.any_stopped("m")


def test_the_supervisor_is_asked_by_a_line() -> None:
    reads, writes = os.pipe()
    supervisor = SupervisorPipe(writes)
    assert supervisor.kill("m_direct")
    assert supervisor.end(4711)
    assert os.read(reads, 100) == b"kill m_direct\nend 4711\n"
    # A full pipe, and one that nobody reads, make nobody wait.
    while supervisor.kill("x" * 1000):
        pass
    os.close(reads)
    assert not supervisor.kill("m")
    assert not supervisor.end(1)
    os.close(writes)


def test_what_cannot_be_read_now_is_not_gone(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no file descriptor is left: what was found before holds, and nobody is dead."""
    stubs = found(proc)

    def too_many(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    for method in ("read_text", "read_bytes"):
        monkeypatch.setattr(Path, method, too_many)
    stubs.scan()
    assert stubs.there
    assert stubs.of(["m_direct"]) == (11,)
    assert stubs.all_alive(["m_direct", "m"])
    monkeypatch.setattr(Path, "iterdir", too_many)
    stubs.scan()
    assert stubs.of(["m_direct"]) == (11,)
    monkeypatch.undo()
    (proc / "11" / "stat").unlink()
    assert not stubs.all_alive(["m_direct"])
