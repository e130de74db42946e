"""Shared memory whose process is gone is given back, and no other."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from schwift import process_tree, shared_memory
from schwift.shared_memory import Sweep
from tests.support.processes import wait_until

SIZE = 1 << 20
SHM = Path("/dev/shm")


class Swept:
    """`now` is the clock; a region is known by its last letter."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.mark = f"test-{uuid.uuid4().hex}"
        self.sweep = Sweep(f"{self.mark}-", self.mark, lambda: self.now)
        self.processes: list[subprocess.Popen[bytes]] = []

    def region(self, letter: str) -> Path:
        return SHM / f"{self.mark}-{letter}"

    def make(self, letter: str) -> Path:
        self.region(letter).write_bytes(b"x" * SIZE)
        return self.region(letter)

    def process(self, letter: str) -> subprocess.Popen[bytes]:
        """One that has this region, as its command line says."""
        command = [sys.executable, "-c", "import time; time.sleep(100)", self.region(letter).name]
        process = subprocess.Popen(command, env=process_tree.marked(os.environ, self.mark), stdin=subprocess.DEVNULL)
        self.processes.append(process)
        wait_until(lambda: self.region(letter).name in process_tree.words(self.mark))
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)

    def ticks(self, seconds: int) -> None:
        for _ in range(2 * seconds):
            self.sweep.tick()
            self.now += 0.5


@pytest.fixture
def swept() -> Iterator[Swept]:
    it = Swept()
    yield it
    for process in it.processes:
        it.end(process)
    shared_memory.clear(f"{it.mark}-")


def test_a_region_is_given_back_ten_seconds_after_the_end_of_its_process(swept: Swept) -> None:
    lost, kept = swept.make("a"), swept.make("b")
    process, _ = swept.process("a"), swept.process("b")
    swept.ticks(30)
    assert lost.exists() and kept.exists()
    swept.end(process)
    swept.ticks(9)
    assert lost.exists()
    swept.ticks(5)
    assert not lost.exists() and kept.read_bytes() == b"x" * SIZE


def test_one_that_gets_its_process_late_is_kept(swept: Swept) -> None:
    """Triton makes it before it starts the process."""
    region = swept.make("a")
    swept.ticks(8)
    swept.process("a")
    swept.ticks(30)
    assert region.exists()


def test_another_with_an_end_of_the_same_name_is_not_touched(swept: Swept) -> None:
    other = SHM / f"other-{swept.mark}-a"
    other.write_bytes(b"x")
    try:
        swept.ticks(30)
        assert other.exists()
    finally:
        other.unlink()


def test_its_memory_is_given_back_although_it_is_mapped_and_reads_as_zeros(swept: Swept) -> None:
    region = swept.make("a")
    with open(region, "r+b") as file, mmap.mmap(file.fileno(), SIZE) as mapped:
        assert os.fstat(file.fileno()).st_blocks * 512 == SIZE
        swept.ticks(14)
        assert not region.exists()
        assert os.fstat(file.fileno()).st_blocks == 0
        assert mapped[:] == bytes(SIZE)


def test_an_empty_one_is_removed_too(swept: Swept) -> None:
    swept.region("a").touch()
    swept.ticks(14)
    assert not swept.region("a").exists()
