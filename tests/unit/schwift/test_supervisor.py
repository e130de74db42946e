"""The supervisor over real processes: what is started again, what is killed, and the order of the end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.errors import ServeError
from converter.schema.wire import EndProcess, KillModel, KillOrder
from schwift.kill_pipe import KillPipe
from schwift.process_group import ProcessGroup
from schwift.restarting import RestartingProcess
from schwift.supervisor import StopSignals, Supervisor
from schwift.triton.embedded import EmbeddedTriton
from schwift.triton_liveness import TritonLiveness
from schwift.wakes import waking
from tests.support.processes import alive, wait_until

SLEEP = "import time; time.sleep(100)"
# Ends well after the signal, and notes that it did.
ORDERLY = """
import os, pathlib, signal, sys, time
def end(*_):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
while True:
    # Not `pause`: a signal that comes just before it would not be seen.
    time.sleep(0.02)
"""


# Notes the signal that ended it.
WHICH = """
import pathlib, signal, sys, time
def end(number, _):
    with open(sys.argv[1], "a") as file:
        file.write(f"{sys.argv[2]} {number}\\n")
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, end)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
while True:
    # Not `pause`: a signal that comes just before it would not be seen.
    time.sleep(0.02)
"""
# An adapter that ends at the second signal, and a Triton that ends at once.
SECOND = """
import pathlib, signal, sys, time
notes = []
def end(number, _):
    if sys.argv[2] == "Triton":
        sys.exit(0)
    notes.append(number)
    pathlib.Path(sys.argv[1]).write_text("".join(f"{number}\\n" for number in notes))
    if len(notes) == 2:
        sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)
pathlib.Path(sys.argv[1] + sys.argv[2]).touch()
while True:
    # Not `pause`: a signal that comes just before it would not be seen.
    time.sleep(0.02)
"""


class Silence(TritonLiveness):
    """A liveness that is told what it would have heard."""

    def __init__(self, hang_seconds: float) -> None:
        super().__init__("127.0.0.1:1", hang_seconds)

        self.rest = 0.0

    @property
    def rest_seconds(self) -> float:
        return self.rest

    def tick(self) -> None:
        pass

    def hear(self, answered: bool, silent: int) -> None:
        self.answered, self._silent = answered, silent


class Tended(EmbeddedTriton):
    """A Triton of which is noted how often it was tended, and what was to be killed."""

    def __init__(self) -> None:
        self.tended = 0
        self.killed: list[KillOrder] = []

    def tend(self) -> None:
        self.tended += 1

    def kill_stubs(self, order: KillOrder) -> int:
        """The first number is of no process of a model."""
        self.killed.append(order)
        return 0 if order == EndProcess(1) else len(self.killed)


class Owned:
    """A supervisor of two programs; `now` is the clock of both."""

    def __init__(self, folder: Path, code: str = SLEEP, hang_seconds: float = 5) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.embedded = Tended()
        self.groups: dict[str, list[ProcessGroup]] = {"Triton": [], "the adapter": []}
        self.liveness = Silence(hang_seconds)
        self.kill_pipe = KillPipe()
        self.notes = folder / "notes"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._code = code
        self.supervisor = Supervisor(
            self._restarting("Triton"), self._restarting("the adapter"), self.embedded, self.liveness,
            self.kill_pipe, self.said.append,
        )  # fmt: skip

    def ready(self) -> None:
        self.supervisor.start()
        self.supervisor.tick()
        self.supervisor.adapter_works()
        self.liveness.hear(answered=True, silent=0)
        self.supervisor.tick()

    def triton(self) -> ProcessGroup:
        return self.groups["Triton"][-1]

    def end(self, name: str) -> None:
        """Kill what runs under this name, and wait until that is known."""
        group = self.groups[name][-1]
        os.kill(group.pid, signal.SIGKILL)
        wait_until(lambda: group.exit_code() is not None)

    def _restarting(self, name: str) -> RestartingProcess:
        def start() -> ProcessGroup:
            command = [sys.executable, "-c", self._code, str(self.notes), name]
            self.groups[name].append(ProcessGroup(name, command, os.environ))
            return self.groups[name][-1]

        return RestartingProcess(name, start, lambda: None, self.said.append, lambda: self.now)


def signals(*numbers: int) -> StopSignals:
    """Those that came, SIGTERM if none is named."""
    came = StopSignals()
    for number in numbers or (signal.SIGTERM,):
        came.note(number)
    return came


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    it = Owned(tmp_path)
    yield it
    it.supervisor.stop(it.listener, signals())
    it.kill_pipe.close()
    assert not [group for groups in it.groups.values() for group in groups if alive(group.pid)]


def test_whichever_is_killed_is_started_again_and_the_other_is_not(owned: Owned) -> None:
    owned.ready()
    for killed, other in (("Triton", "the adapter"), ("the adapter", "Triton")):
        before = len(owned.groups[other])
        owned.end(killed)
        owned.supervisor.tick()
        owned.now += 0.2
        owned.supervisor.tick()
        assert len(owned.groups[killed]) == 2
        assert len(owned.groups[other]) == before
        assert alive(owned.groups[killed][-1].pid)
    assert owned.said == [
        f"{name} was ended by signal 9 (SIGKILL); it is started again in 0.1 s" for name in ("Triton", "the adapter")
    ]


def test_a_triton_that_ends_once_a_model_was_ready_is_started_again_though_it_never_answered_itself(
    owned: Owned,
) -> None:
    owned.supervisor.start()
    owned.supervisor.triton_works()
    owned.end("Triton")
    owned.supervisor.tick()
    owned.now += 0.2
    owned.supervisor.tick()
    assert len(owned.groups["Triton"]) == 2
    assert owned.said == ["Triton was ended by signal 9 (SIGKILL); it is started again in 0.1 s"]


def test_triton_is_tended_at_each_tick(owned: Owned) -> None:
    owned.ready()
    before = owned.embedded.tended
    for _ in range(3):
        owned.supervisor.tick()
    assert owned.embedded.tended == before + 3


def test_a_triton_that_does_not_answer_is_killed_at_the_bound_and_not_before(owned: Owned) -> None:
    owned.ready()
    first = owned.triton()
    os.kill(first.pid, signal.SIGSTOP)
    owned.liveness.hear(answered=True, silent=4)
    owned.supervisor.tick()
    assert alive(first.pid)
    # It answered again: the count begins anew.
    owned.liveness.hear(answered=True, silent=0)
    owned.supervisor.tick()
    owned.liveness.hear(answered=True, silent=5)
    owned.supervisor.tick()
    assert not alive(first.pid)
    assert owned.said == ["Triton did not answer for 5 s and was killed; it is started again in 0.1 s"]
    owned.now += 0.1
    owned.supervisor.tick()
    assert owned.triton() is not first
    # What the old one owed is not the new one's.
    assert (owned.liveness.answered, owned.liveness.silent_seconds) == (False, 0)
    owned.liveness.hear(answered=True, silent=0)
    owned.supervisor.tick()
    assert owned.said[-1] == "Triton is back"


def test_one_that_starts_has_a_minute(owned: Owned) -> None:
    owned.supervisor.start()
    owned.supervisor.tick()
    owned.liveness.hear(answered=False, silent=59)
    owned.supervisor.tick()
    assert alive(owned.triton().pid)
    owned.liveness.hear(answered=False, silent=60)
    with pytest.raises(ServeError, match="Triton did not answer for 60 s and was killed"):
        owned.supervisor.tick()


def test_a_triton_that_ends_before_it_ever_answered_is_an_error(owned: Owned) -> None:
    owned.supervisor.start()
    owned.supervisor.tick()
    owned.end("Triton")
    with pytest.raises(ServeError, match="Triton was ended by signal 9"):
        owned.supervisor.tick()


def test_orders_of_the_adapter_are_carried_out_and_said(owned: Owned) -> None:
    owned.ready()
    os.write(owned.kill_pipe.write_end, b"kill m_direct\nrm -rf /\nkill m\n")
    owned.supervisor.tick()
    assert owned.embedded.killed == [KillModel("m_direct"), KillModel("m")]
    assert owned.said == ["m_direct: 1 stuck process killed", "m: 2 stuck processes killed"]


def test_one_process_is_killed_by_its_number_and_what_is_none_of_ours_is_not_spoken_of(owned: Owned) -> None:
    owned.ready()
    os.write(owned.kill_pipe.write_end, b"end 1\nend 4711\n")
    owned.supervisor.tick()
    assert owned.embedded.killed == [EndProcess(1), EndProcess(4711)]
    assert owned.said == ["process 4711, which nobody could reach any more, killed"]


def test_the_adapter_ends_before_triton_and_nobody_may_connect_any_more(tmp_path: Path) -> None:
    owned = Owned(tmp_path, ORDERLY)
    address = owned.listener.getsockname()
    owned.ready()
    for name in owned.groups:
        wait_until(Path(f"{owned.notes}{name}").exists)
    owned.supervisor.stop(owned.listener, signals())
    owned.kill_pipe.close()
    assert owned.notes.read_text() == "the adapter\nTriton\n"
    assert [groups[0].exit_code() for groups in owned.groups.values()] == [0, 0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_the_signal_that_came_is_passed_on_and_without_one_nobody_is_served_longer(tmp_path: Path) -> None:
    for came, expected in ((signals(signal.SIGHUP), "1"), (signals(signal.SIGINT), "2"), (StopSignals(), "2")):
        folder = tmp_path / f"{came.first}"
        folder.mkdir()
        owned = Owned(folder, WHICH)
        owned.ready()
        for name in owned.groups:
            wait_until(Path(f"{owned.notes}{name}").exists)
        owned.supervisor.stop(owned.listener, came)
        owned.kill_pipe.close()
        assert owned.notes.read_text().splitlines()[0] == f"the adapter {expected}"


def test_a_signal_during_the_drain_is_passed_on_and_triton_is_looked_after_meanwhile(tmp_path: Path) -> None:
    owned = Owned(tmp_path, SECOND)
    owned.ready()
    wait_until(Path(f"{owned.notes}the adapter").exists)
    came = signals()
    stopping = threading.Thread(target=owned.supervisor.stop, args=(owned.listener, came))
    stopping.start()
    wait_until(lambda: owned.notes.exists() and owned.notes.read_text() == "15\n")
    before = owned.embedded.tended
    wait_until(lambda: owned.embedded.tended > before)
    os.write(owned.kill_pipe.write_end, b"kill m\n")
    wait_until(lambda: owned.embedded.killed == [KillModel("m")])
    came.note(signal.SIGINT)
    stopping.join(20)
    assert not stopping.is_alive()
    owned.kill_pipe.close()
    assert owned.notes.read_text() == "15\n2\n"


def test_a_stop_before_the_start_is_a_stop(tmp_path: Path) -> None:
    owned = Owned(tmp_path)
    owned.supervisor.stop(owned.listener, signals())
    owned.kill_pipe.close()
    assert owned.groups == {"Triton": [], "the adapter": []}


def test_it_rests_until_an_order_comes_and_no_longer_than_until_the_next_life_is_due(owned: Owned) -> None:
    owned.ready()
    with waking() as wakes:
        owned.liveness.rest = 60.0
        began = time.monotonic()
        os.write(owned.kill_pipe.write_end, b"kill m\n")
        owned.supervisor.rest(wakes)
        owned.supervisor.tick()
        assert owned.embedded.killed == [KillModel("m")]
        owned.end("Triton")
        owned.supervisor.tick()
        # Between two lives.
        owned.supervisor.rest(wakes)
        assert time.monotonic() - began < 30
        owned.now += 1
        owned.supervisor.tick()
        assert len(owned.groups["Triton"]) == 2
