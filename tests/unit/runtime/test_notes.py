"""The note of which model a host is in, which outlives its process."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from converter.schema import wire
from triton_repo_template.runtime.host import pack_files, running_note
from triton_repo_template.runtime.host.running_note import NOTE_BYTES, RunningNote, key_block

_DIES = """
import os, signal, sys, time
from triton_repo_template.runtime.host.running_note import RunningNote, key_block
note = RunningNote(sys.argv[1])
note.note_growth(key_block("big_alone/2"), 7)
note.begin(key_block("m_alone/1"), 12.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def read(path: Path) -> tuple[float, str, int, str]:
    """When, which model, the largest growth and whose."""
    data = path.read_bytes()
    assert len(data) == NOTE_BYTES
    when, size = struct.unpack_from("<dI", data)
    growth, other = struct.unpack_from("<qI", data, 256)
    return when, data[12 : 12 + size].decode(), growth, data[268 : 268 + other].decode()


def own(folder: Path) -> tuple[float, str, int, str]:
    return read(folder / str(os.getpid()))


def test_a_call_is_noted_and_its_end(tmp_path: Path) -> None:
    note = RunningNote(str(tmp_path))
    assert own(tmp_path) == (0.0, "", 0, "")
    note.begin(key_block("m_alone/1"), 12.5)
    assert own(tmp_path) == (12.5, "m_alone/1", 0, "")
    note.note_growth(key_block("big_alone/2"), 2**40)
    note.end()
    assert own(tmp_path) == (0.0, "m_alone/1", 2**40, "big_alone/2")
    note.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_load_is_noted_unless_there_is_a_call(tmp_path: Path) -> None:
    note = RunningNote(str(tmp_path), clock=lambda: 3.0)
    note.begin_load(key_block("new_alone/1"))
    assert own(tmp_path)[:2] == (3.0, "new_alone/1")
    note.begin(key_block("m_alone/1"), 12.5)
    assert own(tmp_path)[:2] == (12.5, "m_alone/1")
    note.end()
    assert own(tmp_path)[:2] == (3.0, "new_alone/1")
    note.end_load()
    assert own(tmp_path)[0] == 0.0


def test_a_crash_leaves_the_note(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _DIES, str(tmp_path)], cwd=Path(__file__).resolve().parents[3])
    assert process.wait(60) == -9
    assert read(tmp_path / str(process.pid)) == (12.5, "m_alone/1", 7, "big_alone/2")


def test_a_note_that_another_process_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / str(os.getpid())
    left.write_bytes(b"x" * 9)
    RunningNote(str(tmp_path))
    assert own(tmp_path) == (0.0, "", 0, "")


def test_a_long_key_is_cut(tmp_path: Path) -> None:
    note = RunningNote(str(tmp_path))
    note.begin(key_block("m" * 300), 1.0)
    assert own(tmp_path)[1] == "m" * 244


@pytest.mark.parametrize("folder", [None, "/nowhere/at/all"])
def test_without_a_folder_nothing_is_written(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    note = RunningNote(folder)
    note.begin(key_block("m_alone/1"), 1.0)
    note.end()
    note.remove()
    assert list(tmp_path.iterdir()) == []
    assert folder is None or not Path(folder).exists()


def test_names_are_those_of_the_other_side() -> None:
    assert running_note.NOTES_VARIABLE == wire.NOTES_VARIABLE
    for name in ("CALL_TENSOR", "ANSWER_TENSOR", "HOST_KEY_FILE"):
        assert getattr(pack_files, name) == getattr(wire, name)
