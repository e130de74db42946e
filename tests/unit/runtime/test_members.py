"""Which members are in memory: loaded by a thread beside the calls, put away when it gets too much."""

from __future__ import annotations

import gc
import importlib
import json
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.models.hosted_members import Sums, write_member
from tests.support.models.runtime_models import make_config
from triton_repo_template.runtime.errors import LoadError, ModelError
from triton_repo_template.runtime.host.loaded_members import PATIENCE_SECONDS, RETRY_SECONDS, LoadedMembers
from triton_repo_template.runtime.host.member import Member, load_member, split_rows
from triton_repo_template.runtime.host.running_note import RunningNote

SECONDS = 30.0
MIB = 1024 * 1024
# Whether pandas was imported by each load, and what the model answers.
_LOADS = """
import json, sys
from pathlib import Path
import numpy as np
from tests.support.fakes import triton_python_backend_utils
sys.modules["triton_python_backend_utils"] = triton_python_backend_utils
from triton_repo_template.runtime.host.member import load_member
from triton_repo_template.runtime.host.running_note import RunningNote
note, found = RunningNote(None), []
for key in sys.argv[2:]:
    member = load_member(Path(sys.argv[1]), key, note, 1, False)
    (answer,), _ = member.answer([{"x": np.array([[1, 2]], np.float32)}])
    found.append(["pandas" in sys.modules, np.round(answer["y"], 4).tolist()])
print(json.dumps(found))
"""


class Loader:
    """Loads members of a size; those in `held` once they are let go, and those in `broken` not at all."""

    def __init__(self) -> None:
        self.note = RunningNote(None)
        self.loaded: list[str] = []
        self.broken: set[str] = set()
        self.held: dict[str, threading.Event] = {}
        self.now = 100.0
        self.waits = threading.Event()

    def __call__(self, key: str) -> Member:
        self.loaded.append(key)
        if key in self.held:
            self.waits.set()
            assert self.held[key].wait(SECONDS)
        if key in self.broken:
            raise LoadError(f"{key} is broken")
        return Member(key, make_config(), lambda arrays: arrays["x"].sum(axis=1), self.note, False)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def make_members(loader: Loader) -> Iterator[Callable[..., LoadedMembers]]:
    made: list[LoadedMembers] = []

    def make(most_bytes: int | None = None) -> LoadedMembers:
        made.append(LoadedMembers(loader, loader.note, most_bytes, clock=loader.clock))
        return made[-1]

    yield make
    for members in made:
        members.stop()


MakeMembers = Callable[..., LoadedMembers]


def test_a_member_is_loaded_once_whoever_asks(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members()
    assert members.get("a") is None
    first, second = members.ask("a"), members.ask("a")
    assert first.result(SECONDS) is second.result(SECONDS) is members.get("a")
    assert members.ask("a").result(SECONDS) is members.get("a")
    assert loader.loaded == ["a"]


def test_a_failed_load_is_tried_again_after_a_second(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members()
    loader.broken = {"a"}
    for _ in range(2):
        with pytest.raises(LoadError, match="a is broken"):
            members.ask("a").result(SECONDS)
    assert loader.loaded == ["a"]
    loader.broken = set()
    loader.now += RETRY_SECONDS
    assert members.ask("a").result(SECONDS).key == "a"
    assert members.describe()["members"].keys() == {"a"}


def test_what_is_evicted_while_it_is_loaded_is_not_kept(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members()
    loader.held["a"] = threading.Event()
    first, second = members.ask("a"), members.ask("b")
    assert loader.waits.wait(SECONDS)
    members.evict("a")
    members.evict("b")
    loader.held["a"].set()
    assert first.result(SECONDS).key == "a"
    with pytest.raises(ModelError, match="put away before it was loaded"):
        second.result(SECONDS)
    assert members.describe()["members"] == {}
    assert loader.loaded == ["a"]


def test_a_load_that_hangs_keeps_its_mates_waiting_for_seconds_alone(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members()
    loader.held["a"] = threading.Event()
    hanging = members.ask("a")
    assert loader.waits.wait(SECONDS)
    waiting = members.ask("b")
    loader.now += PATIENCE_SECONDS - 0.1
    assert members.ask("b") is waiting and not waiting.done()
    loader.now += 0.2
    assert members.ask("b").result(SECONDS).key == "b"
    assert members.ask("c").result(SECONDS).key == "c"
    # It is not begun again meanwhile, and is there if it ends after all, and so is all that comes later.
    assert members.ask("a") is hanging and not hanging.done()
    loader.held["a"].set()
    assert hanging.result(SECONDS).key == "a"
    assert members.ask("d").result(SECONDS).key == "d"
    assert members.describe()["members"].keys() == {"a", "b", "c", "d"}
    assert loader.loaded == ["a", "b", "c", "d"]


@pytest.mark.parametrize("ends_meanwhile", [False, True])
def test_a_load_that_ends_after_all_is_not_noted_any_more(loader: Loader, tmp_path: Path, ends_meanwhile: bool) -> None:
    """Also if it ends just when the time is compared, which must not fail whoever asks."""
    looks: list[float] = []

    def clock() -> float:
        if ends_meanwhile and loader.now > 100.0 and threading.current_thread() is threading.main_thread():
            looks.append(loader.now)
            loader.held["a"].set()
            # In vain, if it ends only once who asks has got its answer.
            wait([hanging], 0.2)
        return loader.now

    note = RunningNote(str(tmp_path))
    members = LoadedMembers(loader, note, clock=clock)
    try:
        loader.held["a"] = threading.Event()
        hanging = members.ask("a")
        assert loader.waits.wait(SECONDS)
        [noted] = tmp_path.iterdir()
        assert struct.unpack_from("<d", noted.read_bytes()) != (0.0,)
        loader.now += PATIENCE_SECONDS + 0.1
        assert members.ask("a") is hanging
        loader.held["a"].set()
        assert hanging.result(SECONDS).key == "a"
        assert struct.unpack_from("<d", noted.read_bytes()) == (0.0,)
        assert members.ask("b").result(SECONDS).key == "b"
        assert bool(looks) == ends_meanwhile
    finally:
        members.stop()


def test_those_asked_least_lately_are_put_away(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members(most_bytes=100 * MIB)
    for key in ("a", "b", "c"):
        loader.now += 1
        members.ask(key).result(SECONDS).size = 40 * MIB
    loader.now += 1
    members.ask("a").result(SECONDS).used = loader.now
    # 120 MiB are too much: b has waited longest.
    members.ask("d").result(SECONDS)
    assert members.describe()["members"].keys() == {"a", "c", "d"}


def test_the_one_that_is_asked_stays_whatever_its_size(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members(most_bytes=0)
    for key in ("a", "b"):
        members.ask(key).result(SECONDS).size = 1
        assert members.get(key) is not None
    assert members.describe()["members"].keys() == {"b"}


def test_growth_in_a_call_is_the_members(loader: Loader, make_members: MakeMembers) -> None:
    members = make_members()
    member = members.ask("a").result(SECONDS)
    members.count_growth(member, 5000)
    before = member.size
    ballast = np.ones(64 * 1024 * 1024, np.uint8)
    members.count_growth(member, 5000)
    assert member.size - before >= 0.9 * ballast.nbytes
    # After a short call nobody looks so soon.
    more = np.ones(64 * MIB, np.uint8)
    counted = member.size
    members.count_growth(member, 50)
    assert member.size == counted
    described = members.describe()
    assert described["rss"] > more.nbytes
    assert described["members"]["a"]["bytes"] == member.size
    assert described["rss"] > ballast.nbytes


def test_what_is_put_away_is_gone_without_a_collection(tmp_path: Path, make_members: MakeMembers) -> None:
    key = write_member(tmp_path, "a", Sums())
    members = LoadedMembers(lambda key: load_member(tmp_path, key, RunningNote(None), 1, False), RunningNote(None))
    members.ask(key).result(SECONDS)
    gone = weakref.ref(members.get(key))
    gc.disable()
    try:
        members.evict(key)
        # What the thread does after the load that it was at lets go of it.
        members.ask(write_member(tmp_path, "b", Sums())).result(SECONDS)
        assert gone() is None
    finally:
        gc.enable()
        members.stop()


@pytest.mark.parametrize(
    ("sizes", "most", "chunks"),
    [([1, 2, 3, 4], 5, [[1, 2], [3], [4]]), ([9, 1], 5, [[9], [1]]), ([1, 2, 3], 0, [[1, 2, 3]]), ([], 5, [])],
)
def test_items_are_joined_as_far_as_the_largest_call_allows(sizes: list[int], most: int, chunks: Any) -> None:
    assert list(split_rows(sizes, most, lambda size: size)) == chunks


def test_columns_find_pandas_after_a_model_that_has_hidden_it(tmp_path: Path) -> None:
    import pandas as pd
    from sklearn import linear_model

    values, labels = [[1.0, 2.0], [3.0, 4.0]], [3.0, 7.0]
    plain = linear_model.LinearRegression().fit(values, labels)
    named = linear_model.LinearRegression().fit(pd.DataFrame(values, columns=["a", "b"]), labels)
    columns = '[["a", "x"], ["b", "x"]]'
    keys = [
        write_member(tmp_path, "plain", plain),
        write_member(tmp_path, "named", named, columns=columns, several_inputs="0"),
    ]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _LOADS, str(tmp_path), *keys], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [[False, [[3.0]]], [True, [[3.0]]]]


def test_a_library_that_is_being_imported_for_a_mate_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_library.py").write_text(
        "import threading\nbegun, goes_on = threading.Event(), threading.Event()\nbegun.set()\n"
        "assert goes_on.wait(30)\nFACTOR = 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    calls = 0

    def predict(arrays: Any) -> Any:
        nonlocal calls
        calls += 1
        library: Any = sys.modules["slow_library"]
        # As soon as this call has met it half imported, it may go on.
        threading.Timer(0.1, library.goes_on.set).start()
        return library.FACTOR * arrays["x"].sum(axis=1)

    loading = threading.Thread(target=importlib.import_module, args=("slow_library",))
    loading.start()
    try:
        while not hasattr(sys.modules.get("slow_library"), "goes_on") or not sys.modules["slow_library"].begun.is_set():
            time.sleep(0.001)
        member = Member("m/1", make_config(), predict, RunningNote(None), False)
        (answer,), _ = member.answer([{"x": np.array([[1, 2]], np.float32)}])
    finally:
        loading.join(SECONDS)
        sys.modules.pop("slow_library", None)
    assert not isinstance(answer, ModelError)
    assert (answer["y"].tolist(), calls) == ([[6.0]], 2)


def test_what_a_model_lacks_itself_is_its_own_error() -> None:
    def predict(arrays: Any) -> Any:
        return arrays["x"].no_such_method()

    member = Member("m/1", make_config(), predict, RunningNote(None), False)
    (answer,), _ = member.answer([{"x": np.array([[1, 2]], np.float32)}])
    assert isinstance(answer, ModelError) and "no_such_method" in str(answer)
