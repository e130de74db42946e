"""The front: one call for a batch, under a deadline of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter.lifecycle.liveness import canary_id
from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.fakes.entries import make_entry
from tests.support.models.runtime_models import WAKE_KEY, config_json, init_args, outcome, outcomes, request, rows
from triton_repo_template.runtime.front import TritonPythonModel, passed_on
from triton_repo_template.runtime.wake import CANARY_SUFFIX, KEY_FILE, WAKE_AFTER

CANARY_ID = WAKE_KEY + CANARY_SUFFIX
DEADLINE = "[schwift:deadline] m_direct did not answer in 0.03 s"


def texts(*values: bytes) -> pb.InferenceRequest:
    return request(x=np.array([[value] for value in values], dtype=object))


def values_of(request: pb.InferenceRequest) -> Any:
    return request.tensors[0].as_numpy()


def doubled(request: pb.InferenceRequest) -> pb.InferenceResponse:
    return pb.InferenceResponse([pb.Tensor("y", values_of(request).sum(axis=1, keepdims=True) * 2)])


def refused(text: str) -> pb.InferenceResponse:
    return pb.InferenceResponse([], pb.TritonError(text))


class Direct:
    """What the front calls: `m_direct`, whose calls hang while `gate` is closed, and the front itself, to wake it."""

    def __init__(self) -> None:
        self.answer: Callable[[pb.InferenceRequest], pb.InferenceResponse] = doubled
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[pb.InferenceRequest] = []
        self.wakes: list[pb.InferenceRequest] = []

    def __call__(self, request: pb.InferenceRequest) -> pb.InferenceResponse:
        if request.model_name != "m_direct":
            self.wakes.append(request)
            return pb.InferenceResponse([])
        self.calls.append(request)
        assert self.gate.wait(30)
        return self.answer(request)


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[Direct]:
    fake = Direct()
    monkeypatch.setattr(pb.InferenceRequest, "handler", fake)
    monkeypatch.setattr(pb.Logger, "lines", [])
    yield fake
    fake.gate.set()


@pytest.fixture
def make_front(tmp_path: Path) -> Iterator[Callable[..., TritonPythonModel]]:
    fronts: list[TritonPythonModel] = []

    def make(**parameters: Any) -> TritonPythonModel:
        front = TritonPythonModel()
        front.initialize(init_args(tmp_path, config_json(**parameters)))
        fronts.append(front)
        return front

    yield make
    for front in fronts:
        front.finalize()


MakeFront = Callable[..., TritonPythonModel]


def test_a_batch_is_one_call_and_each_request_gets_its_own_rows(direct: Direct, make_front: MakeFront) -> None:
    responses = make_front().execute([rows([1, 2]), rows([3, 4], [5, 6]), rows([7, 8])])
    assert outcomes(responses) == [{"y": [[6.0]]}, {"y": [[14.0], [22.0]]}, {"y": [[30.0]]}]
    (call,) = direct.calls
    assert call.model_name == "m_direct"
    assert call.requested_output_names == ["y"]
    assert values_of(call).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_a_bad_row_is_its_own_requests_error_alone(direct: Direct, make_front: MakeFront) -> None:
    def picky(request: pb.InferenceRequest) -> pb.InferenceResponse:
        if (values_of(request) < 0).any():
            return refused("Failed to process the request(s), message: [schwift:model_error] ValueError: negative")
        return doubled(request)

    direct.answer = picky
    responses = make_front().execute([rows([1, 2]), rows([-1, 0]), rows([3, 4]), rows([5, 6])])
    assert outcomes(responses) == [
        {"y": [[6.0]]}, "[schwift:model_error] ValueError: negative", {"y": [[14.0]]}, {"y": [[22.0]]},
    ]  # fmt: skip


def test_strings_are_bytes_for_clients_and_packed_for_the_model(direct: Direct, make_front: MakeFront) -> None:
    def echo(request: pb.InferenceRequest) -> pb.InferenceResponse:
        values = {tensor.name().replace("x", "y"): tensor.as_numpy() for tensor in request.tensors}
        return pb.InferenceResponse([pb.Tensor(name, array) for name, array in values.items()])

    direct.answer = echo
    front = make_front(inputs=[("x", "object", (1,)), ("n", "int64", (1,))], outputs=[("y", "object", (1,))])
    numbers = np.array([[1]])
    first, second = (request(x=np.array([[text]], object), n=numbers) for text in ("é".encode(), b"longer"))
    assert outcomes(front.execute([first, second])) == [{"y": [["é".encode()]]}, {"y": [[b"longer"]]}]
    (call,) = direct.calls
    assert call.requested_output_names == ["y.bytes", "y.lengths"]
    assert {tensor.name(): tensor.as_numpy().tolist() for tensor in call.tensors} == {
        "x.bytes": [list("élo".encode()), list(b"nger")], "x.lengths": [[2], [6]], "n": [[1], [1]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[schwift:model_error] ValueError: is not ready", "[schwift:model_error] ValueError: is not ready"),
        ("x: [schwift:bad_model_output] y is None", "[schwift:bad_model_output] y is None"),
        ("onnx runtime error 2: bad shape", "[schwift:model_error] onnx runtime error 2: bad shape"),
    ],
)
def test_a_models_own_error_keeps_its_code_and_is_looked_for_by_halves(
    direct: Direct, make_front: MakeFront, text: str, said: str
) -> None:
    direct.answer = lambda request: refused(text)
    assert outcomes(make_front().execute([rows([1, 2]), rows([3, 4])])) == [said, said]
    assert len(direct.calls) == 3
    assert str(passed_on(text)) == said


@pytest.mark.parametrize(
    "text",
    [
        "Stub process 'm_direct_0_0' is not healthy.",
        "Failed to obtain the health mutex.",
        "Request for unknown model: 'm_direct' is not found",
        "Request for unknown model: 'm_direct' has no available versions",
        "Model m_direct is not ready",
        "Exceeds maximum queue size",
    ],
)
def test_a_model_that_is_not_there_is_asked_once(direct: Direct, make_front: MakeFront, text: str) -> None:
    direct.answer = lambda request: refused(text)
    said = f"[schwift:model_unreachable] {text}"
    assert outcomes(make_front().execute([rows([1, 2])] * 4)) == [said] * 4
    assert len(direct.calls) == 1


def test_a_call_that_hangs_is_left_at_the_deadline_and_the_next_batch_works(
    direct: Direct, make_front: MakeFront
) -> None:
    front = make_front(timeout_ms="30")
    direct.gate.clear()
    started = time.monotonic()
    assert outcomes(front.execute([rows([1, 2]), rows([3, 4])])) == [DEADLINE] * 2
    assert 0.025 < time.monotonic() - started < 0.5
    # The first call still hangs in its thread; the next one has another.
    first, direct.gate = direct.gate, threading.Event()
    direct.gate.set()
    assert outcomes(front.execute([rows([1, 2])])) == [{"y": [[6.0]]}]
    first.set()


def test_after_four_stuck_calls_the_next_is_refused_at_once_until_one_returns(
    direct: Direct, make_front: MakeFront
) -> None:
    front = make_front(timeout_ms="30")
    direct.gate.clear()
    for _ in range(4):
        assert outcomes(front.execute([rows([1, 2])])) == [DEADLINE]
    said = "[schwift:model_unreachable] m_direct does not answer: 4 calls hang"
    assert outcomes(front.execute([rows([1, 2])] * 3)) == [said] * 3
    assert len(direct.calls) == 4
    direct.gate.set()
    assert eventually(lambda: outcome(front.execute([rows([1, 2])])[0]) == {"y": [[6.0]]})


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes true within a second; for what other threads do on their own."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.001)
    return False


def test_isolating_a_bad_row_shares_the_deadline_of_the_batch(direct: Direct, make_front: MakeFront) -> None:
    def slow_and_bad(request: pb.InferenceRequest) -> pb.InferenceResponse:
        time.sleep(0.012)
        return refused("[schwift:model_error] no")

    direct.answer = slow_and_bad
    front = make_front(timeout_ms="30")
    started = time.monotonic()
    said = outcomes(front.execute([rows([i, i]) for i in range(64)]))
    assert time.monotonic() - started < 0.5
    assert said[-1] == DEADLINE
    # The whole, halves of it, and what was under way at the deadline; not the 127 calls of a full search.
    assert len(direct.calls) <= 4


def test_an_answer_with_too_few_rows_is_a_bad_output(direct: Direct, make_front: MakeFront) -> None:
    direct.answer = lambda request: pb.InferenceResponse([pb.Tensor("y", np.zeros((0, 1), np.float32))])
    assert outcomes(make_front().execute([rows([1, 2])])) == [
        "[schwift:bad_model_output] output y has 0 rows, and the input 1"
    ]


def test_debug_writes_a_line_a_batch(direct: Direct, make_front: MakeFront) -> None:
    make_front(debug="0").execute([rows([1, 2])])
    assert pb.Logger.lines == []
    make_front(debug="1").execute([rows([1, 2]), rows([3, 4], [5, 6])])
    (line,) = pb.Logger.lines
    assert line.startswith("m: 2 requests, 3 rows in ")


def test_a_wake_up_is_answered_by_the_front_itself(direct: Direct, make_front: MakeFront) -> None:
    wake = rows([9, 9], request_id=WAKE_KEY)
    front = make_front()
    assert outcomes(front.execute([wake])) == [{"y": [[0.0]]}]
    assert direct.calls == []
    assert outcomes(front.execute([rows([1, 2]), wake, rows([3, 4], request_id="a client's")])) == [
        {"y": [[6.0]]}, {"y": [[0.0]]}, {"y": [[14.0]]},
    ]  # fmt: skip
    assert [values_of(call).tolist() for call in direct.calls] == [[[1, 2], [3, 4]]]


def test_a_canary_is_answered_by_the_front_itself_and_no_traffic_that_wake_ups_follow(
    direct: Direct, make_front: MakeFront
) -> None:
    """The last wake-up of a series leaves what a canary leaves: a moment in which a request may be lost."""
    front = make_front()
    assert outcomes(front.execute([rows([9, 9], request_id=CANARY_ID)])) == [{"y": [[0.0]]}]
    time.sleep(WAKE_AFTER[-1])
    assert direct.wakes == []
    assert outcomes(front.execute([rows([9, 9], request_id=CANARY_ID), rows([1, 2])])) == [
        {"y": [[0.0]]}, {"y": [[6.0]]},
    ]  # fmt: skip
    assert eventually(lambda: len(direct.wakes) == len(WAKE_AFTER))
    assert [values_of(call).tolist() for call in direct.calls] == [[[1, 2]]]


def test_the_adapter_knows_the_id_of_a_canary(tmp_path: Path, direct: Direct, make_front: MakeFront) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / KEY_FILE).write_text(f"{WAKE_KEY}\n")
    assert canary_id(tmp_path, make_entry("m")) == CANARY_ID
    assert canary_id(tmp_path, make_entry("m", endpoints=["predict"])) == ""
    assert canary_id(tmp_path, make_entry("other")) == ""
    (folder / KEY_FILE).write_text("")
    assert canary_id(tmp_path, make_entry("m")) == ""


def test_with_the_response_cache_a_wake_up_gets_nothing_that_could_be_cached(
    direct: Direct, make_front: MakeFront
) -> None:
    said = outcomes(make_front(caching="1").execute([rows([9, 9], request_id=WAKE_KEY)]))
    assert said == ["[schwift:model_error] a wake-up or a canary"]


@pytest.mark.parametrize("caching", ["0", "1"])
def test_a_while_after_a_batch_the_front_wakes_itself(direct: Direct, make_front: MakeFront, caching: str) -> None:
    front = make_front(caching=caching)
    front.execute([rows([1, 2])])
    assert eventually(lambda: len(direct.wakes) == len(WAKE_AFTER))
    wake = direct.wakes[0]
    assert (wake.model_name, wake.request_id(), wake.requested_output_names) == ("m", WAKE_KEY, ["y"])
    assert values_of(wake).shape == (1, 2)
    # A wake-up is not followed by others, or they would never end.
    front.execute([rows([0, 0], request_id=WAKE_KEY)])
    time.sleep(4 * WAKE_AFTER[0])
    assert len(direct.wakes) == len(WAKE_AFTER)


def test_with_the_response_cache_no_two_wake_ups_are_alike(direct: Direct, make_front: MakeFront) -> None:
    likes = [("x", "float32", (4,)), ("text", "object", (-1,)), ("flag", "bool", (64,))]
    front = make_front(inputs=likes, caching="1")
    arrays = {name: np.zeros((1, abs(dims[0])), dtype) for name, dtype, dims in likes}
    arrays["text"][0, 0] = b""
    front.execute([request("", **arrays)])
    assert eventually(lambda: len(direct.wakes) == len(WAKE_AFTER))
    first, second = ([tensor.as_numpy().tolist() for tensor in wake.tensors] for wake in direct.wakes[:2])
    for i, (name, dtype, dims) in enumerate(likes):
        assert first[i] != second[i], name
        array = direct.wakes[0].tensors[i].as_numpy()
        assert (array.shape, array.dtype) == ((1, abs(dims[0])), np.dtype(dtype))


HANGING_FRONT = """
import sys, threading
from pathlib import Path
from adapter.lifecycle.liveness import canary_id
from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.fakes.entries import make_entry
sys.modules["triton_python_backend_utils"] = pb
from tests.support.models.runtime_models import config_json, init_args, outcomes, rows
from triton_repo_template.runtime.front import TritonPythonModel

def hang(request):
    if request.model_name == "m_direct":
        threading.Event().wait()
    return pb.InferenceResponse([])

pb.InferenceRequest.handler = hang
front = TritonPythonModel()
front.initialize(init_args(Path(sys.argv[1]), config_json(timeout_ms="30")))
print(outcomes(front.execute([rows([1, 2])])))
front.finalize()
"""


def test_a_stuck_call_does_not_keep_the_fronts_process_alive(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", HANGING_FRONT, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([DEADLINE])


@pytest.mark.parametrize(("parameters", "kept"), [({"nullable": '["x"]'}, [2, -1, 0]), ({}, [2, 1, 0])])
def test_the_mark_of_a_missing_string_is_none_for_the_model_if_the_config_says_so(
    direct: Direct, make_front: Callable[..., TritonPythonModel], parameters: dict[str, str], kept: list[int]
) -> None:
    direct.answer = lambda _: pb.InferenceResponse([pb.Tensor("y", np.zeros((3, 1), np.float32))])
    front = make_front(inputs=[("x", "object", (1,))], **parameters)
    front.execute([texts(b"ab", b"\xff", b"")])
    sent = {tensor.name(): tensor.as_numpy() for tensor in direct.calls[0].tensors}
    assert sent["x.lengths"].ravel().tolist() == kept
