"""What a pack's process has in memory when it takes another one's place: the same, before it is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.hosted_members import Sums, call, host_args, parts_of, write_member
from triton_repo_template.runtime.host.envelope import DESCRIBE, EVICT, LOAD, LOADING, OK, Part
from triton_repo_template.runtime.host.model_host import TritonPythonModel
from triton_repo_template.runtime.host.predecessor import Predecessor
from triton_repo_template.runtime.host.running_note import NOTES_VARIABLE

MakeHost = Callable[[], TritonPythonModel]
# As hosts call it.
FILE = "p_pack_direct.loaded"


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHost]:
    """Makes a host of the repository `tmp_path`, as Triton makes the one of a reload beside the one before."""
    monkeypatch.setattr(pb.Logger, "lines", [])
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv(NOTES_VARIABLE, str(notes))
    hosts: list[TritonPythonModel] = []

    def make() -> TritonPythonModel:
        host = TritonPythonModel()
        host.initialize(host_args(tmp_path))
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.finalize()


def ask(host: TritonPythonModel, kind: int, key: str = "") -> Part:
    while True:
        (part,) = parts_of(*host.execute([call(Part(kind, key.encode()))]))
        if part.kind != LOADING:
            return part


def loaded(host: TritonPythonModel) -> set[str]:
    return set(json.loads(ask(host, DESCRIBE).text)["members"])


def test_the_next_process_has_what_this_one_has_before_it_is_asked(tmp_path: Path, make_host: MakeHost) -> None:
    keys = [write_member(tmp_path, name, Sums()) for name in "abc"]
    first = make_host()
    assert loaded(first) == set()
    for key in keys:
        assert ask(first, LOAD, key).kind == OK
    assert loaded(make_host()) == set(keys)


def test_a_model_that_was_put_away_stays_away(tmp_path: Path, make_host: MakeHost) -> None:
    a, b, c = (write_member(tmp_path, name, Sums()) for name in "abc")
    first = make_host()
    for key in (a, b):
        ask(first, LOAD, key)
    ask(first, EVICT, a)
    # Told by the thread that loads, which is at its end with the model before once it has loaded another.
    ask(first, LOAD, c)
    assert loaded(make_host()) == {b, c}


def test_a_model_that_is_gone_or_broken_keeps_no_process_from_its_start(tmp_path: Path, make_host: MakeHost) -> None:
    a, b, c = (write_member(tmp_path, name, Sums()) for name in "abc")
    first = make_host()
    for key in (a, b, c):
        ask(first, LOAD, key)
    shutil.rmtree(tmp_path / a)
    (tmp_path / b / "model.joblib").write_bytes(b"damaged")
    assert loaded(make_host()) == {c}


def test_what_a_process_had_that_ended_is_not_loaded_at_once(tmp_path: Path, make_host: MakeHost) -> None:
    key = write_member(tmp_path, "a", Sums())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    told = tmp_path / "notes" / FILE
    told.write_text(json.dumps({"pid": ended.pid, "keys": [key]}))
    assert loaded(make_host()) == set()
    told.write_text(json.dumps({"pid": os.getpid(), "keys": [key]}))
    assert loaded(make_host()) == {key}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"pid": 1}', '{"pid": null, "keys": []}', '{"pid": 1, "keys": 7}']
)
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert Predecessor(str(tmp_path), "p_pack_direct").list_loaded() == []


def test_without_a_folder_for_notes_nobody_is_told(tmp_path: Path) -> None:
    Predecessor(None, "p_pack_direct").tell(["a_alone/1"])
    assert Predecessor(None, "p_pack_direct").list_loaded() == []
    gone = Predecessor(str(tmp_path / "gone"), "p_pack_direct")
    gone.tell(["a_alone/1"])
    assert (gone.list_loaded(), list(tmp_path.iterdir())) == ([], [])
