"""The host of a pack: several models in one process, each called once for the rows of all requests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.repository.runtime_files import TEMPLATE_ROOT, find_entry_point
from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.hosted_members import (
    Broken,
    Sums,
    Upper,
    call,
    call_of,
    floats,
    host_args,
    infer,
    named,
    parts_of,
    sums_of,
    write_member,
)
from tests.support.models.runtime_models import outcome
from triton_repo_template.runtime.errors import ModelError
from triton_repo_template.runtime.host.envelope import DESCRIBE, EVICT, FAILED, INFER, LOAD, LOADING, OK, Part
from triton_repo_template.runtime.host.model_host import TritonPythonModel
from triton_repo_template.runtime.host.pack_files import PYCACHE_FILE
from triton_repo_template.runtime.packed_strings import pack_strings, unpack_strings

STRINGS: Any = {
    "input": [
        {"name": "t.bytes", "data_type": "TYPE_UINT8", "dims": [-1]},
        {"name": "t.lengths", "data_type": "TYPE_INT32", "dims": [1]},
    ],
    "output": [
        {"name": "u.bytes", "data_type": "TYPE_UINT8", "dims": [-1]},
        {"name": "u.lengths", "data_type": "TYPE_INT32", "dims": [1]},
    ],
}
MakeHost = Callable[..., TritonPythonModel]


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHost]:
    monkeypatch.setattr(pb.Logger, "lines", [])
    hosts: list[TritonPythonModel] = []

    def make(**parameters: str) -> TritonPythonModel:
        host = TritonPythonModel()
        host.initialize(host_args(tmp_path, **parameters))
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.finalize()


def ask(host: TritonPythonModel, *parts: Part) -> list[Part]:
    """The answer's parts, of members that are being loaded once they are."""
    ends = time.monotonic() + 30
    while True:
        answer = parts_of(*host.execute([call(*parts)]))
        if all(part.kind != LOADING for part in answer):
            return answer
        assert time.monotonic() < ends, "still loading"


def load(host: TritonPythonModel, *keys: str) -> None:
    answers = ask(host, *(Part(LOAD, key.encode()) for key in keys))
    assert [part.kind for part in answers] == [OK for _ in keys]


def loaded(host: TritonPythonModel) -> set[str]:
    return set(json.loads(ask(host, Part(DESCRIBE, b""))[0].text)["members"])


def test_one_call_has_the_rows_of_several_models(tmp_path: Path, make_host: MakeHost) -> None:
    a, b = write_member(tmp_path, "a", Sums()), write_member(tmp_path, "b", Sums(10), version=7)
    assert b == "b_alone/7"
    answer = ask(make_host(), sums_of(a, [1, 2]), sums_of(b, [1, 2], [3, 4]))
    assert [(part.kind, floats(part)) for part in answer] == [(OK, [[3.0]]), (OK, [[30.0], [70.0]])]
    assert all(part.number > 0 for part in answer)


def test_rows_of_several_requests_are_one_call_of_their_model(
    tmp_path: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = write_member(tmp_path, "a", Sums(), max_batch_size=4)
    seen: list[Any] = []
    real = Sums.predict

    def watched(self: Sums, rows: Any) -> Any:
        seen.append(rows.tolist())
        return real(self, rows)

    monkeypatch.setattr(Sums, "predict", watched)
    host = make_host()
    load(host, a)
    requests = [call(sums_of(a, [1, 2], [3, 4])), call(sums_of(a, [5, 6])), call(sums_of(a, [0, 1], [1, 1]))]
    answers = [floats(part) for response in host.execute(requests) for part in parts_of(response)]
    assert answers == [[[3.0], [7.0]], [[11.0]], [[1.0], [2.0]]]
    # At most four rows, as the config says.
    assert seen == [[[1, 2], [3, 4], [5, 6]], [[0, 1], [1, 1]]]


def test_what_a_model_raises_is_its_own_requests_alone(tmp_path: Path, make_host: MakeHost) -> None:
    a, b = write_member(tmp_path, "a", Sums()), write_member(tmp_path, "b", Sums(10))
    host = make_host()
    load(host, a, b)
    requests = [call(sums_of(a, [1, 2]), sums_of(b, [1, 1])), call(sums_of(a, [-1, 0])), call(sums_of(a, [13, 0]))]
    good, bad, ended = map(parts_of, host.execute(requests))
    assert [floats(part) for part in good] == [[[3.0]], [[20.0]]]
    assert [(part.kind, part.text) for part in (*bad, *ended)] == [
        (FAILED, b"[schwift:model_error] ValueError: negative"), (FAILED, b"[schwift:model_error] SystemExit: 3"),
    ]  # fmt: skip


def test_a_call_of_more_rows_than_the_model_takes_fails(tmp_path: Path, make_host: MakeHost) -> None:
    a = write_member(tmp_path, "a", Sums(), max_batch_size=2)
    host = make_host()
    many, few = ask(host, sums_of(a, [1, 2], [1, 2], [1, 2]), sums_of(a, [1, 2]))
    assert (many.kind, many.text) == (FAILED, b"[schwift:model_error] 3 rows in a call, and the model takes 2")
    assert floats(few) == [[3.0]]


def test_strings_cross_packed(tmp_path: Path, make_host: MakeHost) -> None:
    key = write_member(tmp_path, "t", Upper(), wire=STRINGS, strings='["t", "u"]')
    texts = np.array([["é".encode()], [None]], object)
    (part,) = ask(make_host(), infer(key, *pack_strings(texts)))
    (shape, data), (sizes, lengths) = part.tensors
    found = unpack_strings(
        np.frombuffer(data, np.uint8).reshape(shape), np.frombuffer(lengths, np.int32).reshape(sizes)
    )
    assert found.tolist() == [["É".encode()], [b"none"]]


def test_a_scalar_a_row_crosses_with_an_axis(tmp_path: Path, make_host: MakeHost) -> None:
    class_ = Sums(2)
    key = write_member(tmp_path, "s", class_, inputs=[("x", "float32", (2,))], outputs=[("y", "float32", ())])
    (part,) = ask(make_host(), sums_of(key, [1, 2], [3, 4]))
    assert (part.tensors[0].shape, floats(part)) == ((2, 1), [[6.0], [14.0]])


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (infer("a_alone/1", np.zeros((1, 2), np.float64)), "tensor x cannot be read: 16 bytes for float32 of [1, 2]"),
        (infer("a_alone/1"), "0 tensors, and the model has 1"),
        (infer("a_alone/1", np.zeros((), np.float32)), "tensor x cannot be read: 4 bytes for float32 of []"),
        (Part(9, b""), "a part of the unknown kind 9"),
    ],
)
def test_a_part_that_is_wrong_fails_alone(tmp_path: Path, make_host: MakeHost, part: Part, says: str) -> None:
    a = write_member(tmp_path, "a", Sums())
    wrong, right = ask(make_host(), part, sums_of(a, [1, 2]))
    assert (wrong.kind, wrong.text.decode()) == (FAILED, f"[schwift:model_error] {says}")
    assert floats(right) == [[3.0]]


def test_values_may_begin_anywhere(tmp_path: Path, make_host: MakeHost) -> None:
    key = write_member(tmp_path, "d", Sums(), inputs=[("x", "float64", (2,))], outputs=[("y", "float64", (1,))])
    host = make_host()
    load(host, key)
    data = call(infer(key, np.array([[1.0, 2.5]]))).tensors[0].as_numpy().tobytes()
    for shift in range(8):
        shifted = np.frombuffer(bytes(shift) + data, np.uint8)[shift:].reshape(1, -1)
        (part,) = parts_of(*host.execute([named({"schwift.call": shifted})]))
        assert np.frombuffer(part.tensors[0].values).tolist() == [3.5]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (call(Part(DESCRIBE, b""), key=b"f" * 32), "a call with another key than this pack's"),
        (call_of(b"garbage"), "the call of the pack cannot be read: an envelope that is cut short"),
        (named({"b.x": np.zeros((1, 2), np.float32)}), "no model of this pack has the input b.x"),
        (named({}), "a request without inputs"),
    ],
)
def test_a_request_that_is_wrong_is_an_error_and_leaves_others_alone(
    tmp_path: Path, make_host: MakeHost, asked: pb.InferenceRequest, says: str
) -> None:
    a = write_member(tmp_path, "a", Sums())
    host = make_host()
    load(host, a)
    wrong, right = host.execute([asked, call(sums_of(a, [1, 2]))])
    assert outcome(wrong) == f"[schwift:model_error] {says}"
    assert floats(*parts_of(right)) == [[3.0]]


def test_a_load_tells_what_it_cost_and_eviction_undoes_it(tmp_path: Path, make_host: MakeHost) -> None:
    a, b = write_member(tmp_path, "a", Sums()), write_member(tmp_path, "b", Sums(10))
    host = make_host()
    said = json.loads(ask(host, Part(LOAD, a.encode()))[0].text)
    assert said["bytes"] >= 0 and 0 <= said["seconds"] < 30
    load(host, b)
    described = json.loads(ask(host, Part(DESCRIBE, b""))[0].text)
    assert (described["pid"], set(described["members"])) == (os.getpid(), {a, b})
    assert described["rss"] > 1_000_000 and described["members"][a].keys() == {"bytes", "used"}
    assert [part.kind for part in ask(host, Part(EVICT, a.encode()), Part(EVICT, b"nobody_alone/1"))] == [OK, OK]
    assert loaded(host) == {b}
    # It is loaded again when it is asked.
    assert floats(*ask(host, sums_of(a, [1, 2]))) == [[3.0]]
    assert loaded(host) == {a, b}


@pytest.mark.parametrize("kind", [LOAD, INFER])
def test_a_load_that_fails_says_why(tmp_path: Path, make_host: MakeHost, kind: int) -> None:
    broken, good = write_member(tmp_path, "broken", Broken()), write_member(tmp_path, "good", Sums())
    bad, right = ask(make_host(), Part(kind, broken.encode()), sums_of(good, [1, 2]))
    assert bad.kind == FAILED
    assert bad.text.startswith(b"[schwift:model_error] ValueError: invalid literal for int()")
    assert floats(right) == [[3.0]]


@pytest.mark.parametrize("key", ["../../etc/1", "a_alone/../b", "a_alone", "a_alone/1/x", ""])
def test_no_other_folder_is_a_member(make_host: MakeHost, key: str) -> None:
    (part,) = ask(make_host(), Part(LOAD, key.encode()))
    assert part.text.decode() == f"[schwift:load_error] {key} is no model and version"


def test_a_member_that_is_not_there_says_so(make_host: MakeHost) -> None:
    (part,) = ask(make_host(), Part(LOAD, b"gone_alone/3"))
    assert part.text.decode().startswith("[schwift:load_error] gone_alone/3/member.json cannot be read (")


def test_a_file_that_is_not_the_one_built_is_not_loaded(tmp_path: Path, make_host: MakeHost) -> None:
    key = write_member(tmp_path, "a", Sums(), model_sha256="0" * 64)
    (part,) = ask(make_host(), Part(LOAD, key.encode()))
    assert part.text.decode().startswith("[schwift:load_error] model.joblib is not the file that was built")


def write_names(tmp_path: Path, name: str, version: int, host_version: int = 1) -> None:
    tensors = {"inputs": [{"name": "x", "dtype": "float32", "dims": [2]}]}
    tensors["outputs"] = [{"name": "y", "dtype": "float32", "dims": [1]}]
    described = {"files": f"{name}_alone", "version": version, "strings": [], "nullable": [], "max_rows": 8}
    folder = tmp_path / "p_pack_direct" / str(host_version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "members.json").write_text(json.dumps({name: {**described, **tensors}}))


def test_a_native_request_gets_what_the_repository_holds_now(tmp_path: Path, make_host: MakeHost) -> None:
    write_member(tmp_path, "a", Sums(), version=1)
    write_member(tmp_path, "a", Sums(100), version=2)
    write_names(tmp_path, "a", 1)
    host = make_host()
    asked = named({"a.x": np.array([[1, 2]], np.float32)})
    # The load is waited for.
    assert outcome(*host.execute([asked])) == {"a.y": [[3.0]]}
    # Another build, in which the host has another version.
    write_names(tmp_path, "a", 2, host_version=2)
    assert outcome(*host.execute([asked])) == {"a.y": [[300.0]]}


def test_what_a_model_raises_to_a_native_request_is_its_error(tmp_path: Path, make_host: MakeHost) -> None:
    write_member(tmp_path, "a", Sums())
    write_names(tmp_path, "a", 1)
    asked = [named({"a.x": np.array([row], np.float32)}) for row in ([1, 2], [-1, 0])]
    assert [outcome(answer) for answer in make_host().execute(asked)] == [
        {"a.y": [[3.0]]}, "[schwift:model_error] ValueError: negative",
    ]  # fmt: skip


def test_a_damaged_key_is_said_when_the_host_is_loaded(tmp_path: Path) -> None:
    args = host_args(tmp_path)
    (tmp_path / "p_pack_direct" / "1" / "host_key").write_text("short")
    with pytest.raises(ModelError, match=r"\[schwift:load_error\] host_key is damaged"):
        TritonPythonModel().initialize(args)


@pytest.mark.parametrize("kind", ["host", "host_front"])
def test_python_writes_nothing_into_the_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "1"
    runtime = folder / "schwift_runtime"
    shutil.copytree(TEMPLATE_ROOT / "runtime", runtime, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(find_entry_point(kind), folder / "model.py")
    (folder / PYCACHE_FILE).touch()
    before = sorted(folder.rglob("*"))
    program = (
        "import sys; from tests.support.fakes import triton_python_backend_utils as pb; "
        "sys.modules['triton_python_backend_utils'] = pb; sys.path.insert(0, sys.argv[1]); "
        "import model; print(model.TritonPythonModel.__module__)"
    )
    # Triton's stub passes over what the environment says to Python.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=root, env=variables, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout.split(".")[0]) == (0, "", "schwift_runtime")
    assert sorted(folder.rglob("*")) == before
