"""What a killed serve leaves behind is removed, and what a living one has is not touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from schwift import process_tree, work_folder
from tests.support.processes import alive, wait_until

# A serve that has started a child and some shared memory, and then is killed or waits to be.
SERVE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from schwift import process_tree
from schwift import work_folder
with work_folder.make() as made:
    Path(f"/dev/shm/{made.mark}-region").write_bytes(b"x")
    (made.path / "backends").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(100)"],
        env=process_tree.marked(os.environ, f"{made.mark}/triton"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    print(made.path, made.mark, child.pid, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.glob("schwift-serve-*")) == []


class Serve:
    def __init__(self, tmp_path: Path, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, what],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        path, self.mark, child = self.process.stdout.readline().decode().split()
        self.process.stdout.close()
        self.path, self.child = Path(path), int(child)
        self.region = Path(f"/dev/shm/{self.mark}-region")


def test_nothing_is_left_of_one_that_was_killed(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "killed")
    serve.process.wait(10)
    assert alive(serve.child) and serve.region.exists() and serve.path.exists()
    assert work_folder.clear_dead() == [serve.process.pid]
    wait_until(lambda: not alive(serve.child))
    assert not serve.region.exists() and not serve.path.exists()
    assert work_folder.clear_dead() == []


def test_one_that_runs_is_not_touched(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "running")
    try:
        assert work_folder.clear_dead() == []
        assert alive(serve.child) and serve.region.exists() and (serve.path / "backends").is_dir()
    finally:
        serve.process.kill()
        serve.process.wait(10)
    assert work_folder.clear_dead() == [serve.process.pid]
    wait_until(lambda: not alive(serve.child))


def test_one_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    with work_folder.make() as made:
        assert json.loads((made.path / "serve.json").read_text()) == {"mark": made.mark, "pid": os.getpid()}
        assert work_folder.clear_dead() == []
        assert made.path.is_dir()
    assert not made.path.exists()


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"mark": "schwift-", "pid": 1}', '{"mark": "..", "pid": 1}', '{"mark": null, "pid": 1}']
)
def test_a_note_that_is_none_of_ours_is_not_believed(tmp_path: Path, note: str) -> None:
    folder = tmp_path / "schwift-serve-odd"
    folder.mkdir()
    (folder / "serve.json").write_text(note)
    assert work_folder.clear_dead() == []
    assert folder.is_dir()
    (folder / "serve.json").unlink()
    folder.rmdir()


def test_the_folder_of_another_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "serve.json").write_text('{"mark": "schwift-0123456789ab", "pid": 1}')
    link = tmp_path / "schwift-serve-link"
    link.symlink_to(target)
    assert work_folder.clear_dead() == []
    assert (target / "serve.json").exists()
    link.unlink()


def test_marks_differ_and_are_of_the_form_that_is_believed() -> None:
    marks = set()
    for _ in range(3):
        with work_folder.make() as made:
            marks.add(made.mark)
            assert re.fullmatch("schwift-[0-9a-f]{12}", made.mark)
            assert process_tree.members(made.mark) == []
    assert len(marks) == 3
