"""The front of a host: one call for all models of a batch, under a deadline of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.hosted_members import HOST_KEY, host_args, named
from tests.support.models.runtime_models import WAKE_KEY, outcome, outcomes
from triton_repo_template.runtime import triton_io
from triton_repo_template.runtime.host.envelope import (
    FAILED,
    LOADING,
    OK,
    Part,
    RawTensor,
    read_envelope,
    write_envelope,
)
from triton_repo_template.runtime.host.host_front import TritonPythonModel
from triton_repo_template.runtime.wake import CANARY_SUFFIX


def tensor(name: str, dtype: str, *dims: int) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims)}


def described(files: str, strings: list[str], inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    return {
        "files": files, "version": 3, "strings": strings, "nullable": [], "max_rows": 4,
        "inputs": inputs, "outputs": outputs,
    }  # fmt: skip


MEMBERS = {
    name: described(f"{name}_alone", [], [tensor("x", "float32", 2)], [tensor("y", "float32", 1)])
    for name in ("a", "b")
} | {
    "t": described(
        "t_alone",
        ["t", "u"],
        [tensor("t.bytes", "uint8", -1), tensor("t.lengths", "int32", 1)],
        [tensor("u.bytes", "uint8", -1), tensor("u.lengths", "int32", 1)],
    )
}


def answer_sums(part: Part) -> Part:
    rows = np.frombuffer(part.tensors[0].values, np.float32).reshape(part.tensors[0].shape)
    if (rows < 0).any():
        return Part(FAILED, b"[schwift:model_error] ValueError: negative")
    sums = rows.sum(axis=1, keepdims=True)
    return Part(OK, b"", [RawTensor(sums.shape, sums.tobytes())])


class Host:
    """What the front calls: the host, whose calls hang while `gate` is closed, and the front itself, to wake it."""

    def __init__(self) -> None:
        self.answer: Callable[[Part], Part] = answer_sums
        self.refuse: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[list[Part]] = []

    def __call__(self, request: pb.InferenceRequest) -> pb.InferenceResponse:
        if request.model_name != "p_pack_direct":
            return pb.InferenceResponse([])
        key, parts = read_envelope(request.tensors[0].as_numpy().reshape(-1).data)
        assert key == HOST_KEY
        # As the memory of the call goes with it.
        copied = [[RawTensor(tensor.shape, bytes(tensor.values)) for tensor in part.tensors] for part in parts]
        self.calls.append([Part(part.kind, part.text, tensors) for part, tensors in zip(parts, copied, strict=True)])
        assert self.gate.wait(30)
        if self.refuse is not None:
            return pb.InferenceResponse([], pb.TritonError(self.refuse))
        data = write_envelope([self.answer(part) for part in parts])
        return pb.InferenceResponse([pb.Tensor("schwift.answer", np.frombuffer(data, np.uint8).reshape(1, -1))])

    @property
    def rows(self) -> list[list[tuple[str, int]]]:
        """The models of each call, and how many rows each had."""
        return [[(part.text.decode(), part.tensors[0][0][0]) for part in parts] for parts in self.calls]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    fake = Host()
    monkeypatch.setattr(pb.InferenceRequest, "handler", fake)
    monkeypatch.setattr(pb.Logger, "lines", [])
    yield fake
    fake.gate.set()


@pytest.fixture
def make_front(tmp_path: Path) -> Iterator[Callable[..., TritonPythonModel]]:
    fronts: list[TritonPythonModel] = []

    def make(**parameters: str) -> TritonPythonModel:
        host_args(tmp_path)
        (tmp_path / "p_pack_direct" / "1" / "members.json").write_text(json.dumps(MEMBERS))
        front = TritonPythonModel()
        front.initialize(host_args(tmp_path, "p_pack", **parameters))
        fronts.append(front)
        return front

    yield make
    for front in fronts:
        front.finalize()


MakeFront = Callable[..., TritonPythonModel]


def rows(model: str, *values: Any, request_id: str = "") -> pb.InferenceRequest:
    return named({f"{model}.x": np.array(values, np.float32)}, request_id)


def test_a_batch_of_several_models_is_one_call(host: Host, make_front: MakeFront) -> None:
    responses = make_front().execute([rows("a", [1, 2]), rows("b", [3, 4]), rows("a", [5, 6], [7, 8])])
    assert outcomes(responses) == [{"a.y": [[3.0]]}, {"b.y": [[7.0]]}, {"a.y": [[11.0], [15.0]]}]
    assert host.rows == [[("a_alone/3", 3), ("b_alone/3", 1)]]


def test_a_part_has_no_more_rows_than_its_model_takes(host: Host, make_front: MakeFront) -> None:
    make_front().execute([rows("a", [1, 2], [1, 2], [1, 2]), rows("a", [1, 2], [1, 2])])
    assert host.rows == [[("a_alone/3", 3), ("a_alone/3", 2)]]


def test_a_bad_row_is_its_own_requests_error_alone(host: Host, make_front: MakeFront) -> None:
    responses = make_front().execute([rows("a", [1, 2]), rows("a", [-1, 0]), rows("b", [3, 4]), rows("a", [5, 6])])
    assert outcomes(responses) == [
        {"a.y": [[3.0]]}, "[schwift:model_error] ValueError: negative", {"b.y": [[7.0]]}, {"a.y": [[11.0]]},
    ]  # fmt: skip
    # Halves of what failed, of no other model's.
    assert host.rows == [
        [("a_alone/3", 3), ("b_alone/3", 1)], [("a_alone/3", 1), ("a_alone/3", 2)], [("a_alone/3", 1)] * 2,
    ]  # fmt: skip


def test_strings_are_bytes_for_clients_and_packed_for_the_host(host: Host, make_front: MakeFront) -> None:
    host.answer = lambda part: Part(OK, b"", part.tensors)
    first, second = (named({"t.t": np.array([[text]], object)}) for text in ("é".encode(), b"longer"))
    assert outcomes(make_front().execute([first, second])) == [{"t.u": [["é".encode()]]}, {"t.u": [[b"longer"]]}]


def test_the_mark_of_a_missing_string_is_none_for_the_host(host: Host, make_front: MakeFront) -> None:
    host.answer = lambda part: Part(OK, b"", part.tensors)
    asked = named({"t.t": np.array([[b"\xff"], [b""]], object)})
    assert outcomes(make_front(nullable='["t.t"]').execute([asked])) == [{"t.u": [[None], [b""]]}]


def test_a_model_that_is_being_loaded_is_waited_for(host: Host, make_front: MakeFront) -> None:
    left = [2]

    def load(part: Part) -> Part:
        if part.text == b"b_alone/3" or left[0] == 0:
            return answer_sums(part)
        left[0] -= 1
        return Part(LOADING, b"")

    host.answer = load
    responses = make_front().execute([rows("a", [1, 2]), rows("b", [3, 4])])
    assert outcomes(responses) == [{"a.y": [[3.0]]}, {"b.y": [[7.0]]}]
    assert host.rows == [[("a_alone/3", 1), ("b_alone/3", 1)], [("a_alone/3", 1)], [("a_alone/3", 1)]]


@pytest.mark.parametrize("loading", [True, False])
def test_the_deadline_ends_what_takes_too_long(host: Host, make_front: MakeFront, loading: bool) -> None:
    host.answer = lambda part: Part(LOADING, b"")
    if not loading:
        host.gate.clear()
    responses = make_front(timeout_ms="50").execute([rows("a", [1, 2]), rows("b", [1, 2])])
    assert outcomes(responses) == ["[schwift:deadline] p_pack_direct did not answer in 0.05 s"] * 2


@pytest.mark.parametrize(
    ("text", "says", "calls"),
    [
        (b"[schwift:load_error] gone", "[schwift:load_error] gone", 1),
        (b"[schwift:bad_model_output] odd", "[schwift:bad_model_output] odd", 2),
        (b"[schwift:model_unfit] ImportError: x", "[schwift:model_unfit] ImportError: x", 2),
    ],
)
def test_the_hosts_error_of_a_model_is_passed_on(
    host: Host, make_front: MakeFront, text: bytes, says: str, calls: int
) -> None:
    host.answer = lambda part: Part(FAILED, text)
    assert outcomes(make_front().execute([rows("a", [1, 2]), rows("a", [3, 4])])) == [says] * 2
    assert len(host.calls) == calls


def test_a_host_that_is_not_there_is_asked_once(host: Host, make_front: MakeFront) -> None:
    host.refuse = "Stub process 'p_pack_direct_0_0' is not healthy."
    responses = make_front().execute([rows("a", [1, 2]), rows("a", [3, 4])])
    assert outcomes(responses) == [f"[schwift:model_unreachable] {host.refuse}"] * 2
    assert len(host.calls) == 1


def test_an_unknown_input_is_an_error_and_no_call(host: Host, make_front: MakeFront) -> None:
    front = make_front()
    asked = [rows("c", [1, 2]), named({"schwift.call": np.zeros((1, 1), np.uint8)}), named({})]
    assert outcomes(front.execute(asked)) == [
        "[schwift:model_error] no model of this pack has the input c.x",
        "[schwift:model_error] no model of this pack has the input schwift.call",
        "[schwift:model_error] a request without inputs",
    ]
    assert host.calls == []


def test_canaries_are_answered_without_the_host(host: Host, make_front: MakeFront) -> None:
    canary = named({"schwift.call": np.zeros((1, 1), np.uint8)}, WAKE_KEY + CANARY_SUFFIX)
    first, second = make_front().execute([canary, rows("a", [1, 2])])
    assert outcome(first) == {"schwift.answer": [[0]]}
    assert outcome(second) == {"a.y": [[3.0]]}
    assert len(host.calls) == 1


def test_strings_are_refused_where_they_would_end_the_process(
    host: Host, make_front: MakeFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_io, "NEEDS_DLPACK", True)
    texts = named({"t.t": np.array([[b"x"]], object)})
    refused, right = make_front().execute([texts, rows("a", [1, 2])])
    assert outcome(refused).startswith("[schwift:load_error] strings of Triton's own clients need numpy 1")
    assert outcome(right) == {"a.y": [[3.0]]}


def test_an_answer_that_is_none_is_an_error(host: Host, make_front: MakeFront) -> None:
    host.answer = lambda part: Part(OK, b"", [RawTensor((1, 9), b"123")])
    (response,) = make_front().execute([rows("a", [1, 2])])
    assert outcome(response).startswith("[schwift:model_error] tensor y cannot be read")
