"""What the processes of a pack tell each other: what one has, the next one has, and what one puts away, all do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.hosted_members import Sums, call, host_args, parts_of, write_member
from tests.support.models.runtime_models import make_config
from triton_repo_template.runtime.host.envelope import DESCRIBE, EVICT, LOAD, LOADING, OK, Part
from triton_repo_template.runtime.host.loaded_members import LoadedMembers
from triton_repo_template.runtime.host.member import Member
from triton_repo_template.runtime.host.model_host import TritonPythonModel
from triton_repo_template.runtime.host.running_note import NOTES_VARIABLE, RunningNote
from triton_repo_template.runtime.host.siblings import LOOK_SECONDS, Siblings, start_of

MakeHost = Callable[..., TritonPythonModel]
# As hosts call one.
FILE = "p_pack_direct.1.any.loaded"


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHost]:
    """Makes a host of the repository `tmp_path`, as Triton makes the one of a reload beside the one before."""
    monkeypatch.setattr(pb.Logger, "lines", [])
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv(NOTES_VARIABLE, str(notes))
    hosts: list[TritonPythonModel] = []

    def make(instances: int = 1) -> TritonPythonModel:
        host = TritonPythonModel()
        host.initialize(host_args(tmp_path, instances=str(instances)))
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
    ended = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    ends, own, told = start_of(ended.pid), start_of(os.getpid()), tmp_path / "notes" / FILE
    assert ends is not None and own is not None
    ended.kill()
    # Nobody waits for it.
    until(lambda: start_of(ended.pid) is None)
    # Nor is it the process that its number has once the container was started anew.
    for pid, start in ((ended.pid, ends), (os.getpid(), own - 1)):
        told.write_text(json.dumps({"pid": pid, "start": start, "members": {key: 1}, "put_away": {}}))
        assert loaded(make_host()) == set()
        assert not told.exists()
    ended.communicate()
    told.write_text(json.dumps({"pid": os.getpid(), "start": own, "members": {key: 1}, "put_away": {}}))
    assert loaded(make_host()) == {key}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"pid": 1}', '{"pid": null, "members": {}, "put_away": {}}', '{"pid": 1, "members": 7}',
     '{"pid": 1, "members": {"a": "x"}, "put_away": {}}'],
)  # fmt: skip
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    pid = os.getpid()
    (tmp_path / FILE).write_text(text.replace('"pid": 1', f'"pid": {pid}, "start": {start_of(pid)}'))
    assert Siblings(str(tmp_path), "p_pack_direct").list_loaded() == []


def test_without_a_folder_for_notes_nobody_is_told(tmp_path: Path) -> None:
    Siblings(None, "p_pack_direct").tell({"a_alone/1": 1})
    assert Siblings(None, "p_pack_direct").list_loaded() == []
    gone = Siblings(str(tmp_path / "gone"), "p_pack_direct")
    gone.tell({"a_alone/1": 1})
    assert (gone.list_loaded(), list(tmp_path.iterdir())) == ([], [])


def test_several_processes_meet_without_notes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = (Siblings(None, "p_pack_direct", 2) for _ in range(2))
    first.tell({"a_alone/1": 7})
    assert [item.members for item in second.read()] == [{"a_alone/1": 7}]
    # Another host's are none of theirs, and nobody else may write there.
    assert Siblings(None, "p_pack_directly", 2).read() == []
    [folder] = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert Siblings(None, "p_pack_direct", 2).look_seconds is None
    folder.chmod(0o700)
    first.leave()
    # What the thread that loads tells after that is told to nobody.
    first.tell({"a_alone/1": 8})
    assert (second.read(), folder.exists()) == ([], False)
    # Whoever met the last one there makes the folder anew, and keeps it until the end.
    second.tell({"a_alone/1": 9})
    third = Siblings(None, "p_pack_direct", 2)
    third.leave()
    assert [item.members for item in third.read()] == [{"a_alone/1": 9}]
    second.leave()
    assert not folder.exists()


def test_what_one_process_puts_away_is_put_away_in_the_others(tmp_path: Path, make_host: MakeHost) -> None:
    a, b = (write_member(tmp_path, name, Sums()) for name in "ab")
    hosts = [make_host(instances=2) for _ in range(3)]
    for host in hosts:
        for key in (a, b):
            assert ask(host, LOAD, key).kind == OK
    ask(hosts[1], EVICT, a)
    until(lambda: all(loaded(host) == {b} for host in hosts))
    # Whoever is asked for it after that keeps it.
    ask(hosts[0], LOAD, a)
    time.sleep(2 * LOOK_SECONDS)
    assert [loaded(host) for host in hosts] == [{a, b}, {b}, {b}]


def test_what_is_put_away_while_another_process_loads_it_is_not_kept_there() -> None:
    now, held, begun = [100.0], threading.Event(), threading.Event()

    class Told(Siblings):
        """Another process has put the model away at 200."""

        def __init__(self) -> None:
            super().__init__(None, "p_pack_direct")
            self.look_seconds = 0.01

        def find_put_away(self) -> dict[str, float]:
            return {"b": 200.0, "c": 200.0}

    def load(key: str) -> Member:
        begun.set()
        assert held.wait(30)
        return Member(key, make_config(), lambda arrays: arrays["x"], RunningNote(None), False)

    members = LoadedMembers(load, RunningNote(None), clock=lambda: now[0], siblings=Told())
    try:
        first = members.ask("b")
        assert begun.wait(30)
        now[0] = 300.0
        second = members.ask("c")
        held.set()
        assert (first.result(30).key, second.result(30).key) == ("b", "c")
        until(lambda: members.describe()["members"].keys() == {"c"})
    finally:
        members.stop()


def test_one_process_describes_what_all_of_them_hold(tmp_path: Path, make_host: MakeHost) -> None:
    a, b = (write_member(tmp_path, name, Sums()) for name in "ab")
    first, second = (make_host(instances=2) for _ in range(2))
    ask(first, LOAD, a)
    ask(second, LOAD, b)
    until(lambda: [set(other["members"]) for other in json.loads(ask(first, DESCRIBE).text)["others"]] == [{b}])
    assert [set(other["members"]) for other in json.loads(ask(second, DESCRIBE).text)["others"]] == [{a}]
    second.finalize()
    assert json.loads(ask(first, DESCRIBE).text)["others"] == []


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)
