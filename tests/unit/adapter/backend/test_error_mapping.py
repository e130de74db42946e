"""What Triton's statuses and texts mean to the caller, and what is said of a model that did not load."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from adapter import errors
from adapter.backend.error_mapping import load_reason, raised_in, translate, unfit_reason

Code = grpc.StatusCode
MODEL_RAISED = "The model raised an error on this input."
_NO_MORE = "Triton could not load it: the server's log has the details"


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (Code.INTERNAL, "Failed: [schwift:bad_model_output] output y has 1 rows", errors.BadModelOutput),
        (Code.INTERNAL, "[schwift:deadline] m_direct did not answer in 15 s", errors.DeadlineExceeded),
        (Code.INTERNAL, "[schwift:model_unreachable] m_direct is not ready", errors.ModelUnavailable),
        (Code.INTERNAL, "[schwift:model_error] ValueError: no", errors.ModelFailed),
        (Code.INTERNAL, "[schwift:model_unfit] AttributeError: no", errors.ModelFailed),
        (Code.UNAVAILABLE, "[request id: 1] Exceeds maximum queue size", errors.QueueFull),
        (Code.UNAVAILABLE, "Request timeout expired", errors.DeadlineExceeded),
        (Code.INTERNAL, "Stub process 'm_direct_0_0' is not healthy.", errors.ModelProcessDead),
        (Code.INTERNAL, "Failed to obtain the health mutex.", errors.ModelProcessDead),
        (Code.INTERNAL, "[schwift:model_unreachable] Failed to obtain the health mutex.", errors.ModelProcessDead),
        (Code.UNAVAILABLE, "Request for unknown model: 'm' version 1 is not ready", errors.ModelUnavailable),
        (Code.UNAVAILABLE, "Request for unknown model: 'm' has no available versions", errors.ModelUnavailable),
        (Code.NOT_FOUND, "Request for unknown model: 'm' is not found", errors.ModelUnavailable),
        (Code.UNAVAILABLE, "Server is stopping, scheduler for model has stopped", errors.UpstreamDown),
        (Code.UNAVAILABLE, "failed to connect to all addresses", errors.UpstreamDown),
        (Code.UNAVAILABLE, "Socket closed", errors.UpstreamDown),
        (Code.CANCELLED, "", errors.UpstreamDown),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.DeadlineExceeded),
        (Code.NOT_FOUND, "", errors.ModelUnavailable),
        (Code.INVALID_ARGUMENT, "unexpected shape for input 'x'", errors.UpstreamRefused),
        (Code.INTERNAL, "onnx runtime error 2: Non-zero status code", errors.ModelFailed),
        (Code.UNKNOWN, "", errors.ModelFailed),
    ],
)
def test_each_status_and_text_is_one_error_and_the_text_stays_inside(
    code: Any, text: str, kind: type[errors.AdapterError]
) -> None:
    error = translate(code, text)
    assert type(error) is kind
    assert error.inside == text
    assert not text or text not in error.detail
    assert "schwift:" not in error.detail
    assert error.detail.endswith(".")


@pytest.mark.parametrize("phrase", ["is not ready", "Exceeds maximum queue size", "unknown model", "is not found"])
def test_what_a_model_says_itself_is_not_mistaken_for_tritons_words(phrase: str) -> None:
    error = translate(Code.INTERNAL, f"[schwift:model_error] ValueError: the scaler {phrase}")
    assert type(error) is errors.ModelFailed
    assert error.detail == MODEL_RAISED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", _NO_MORE),
        ("load failed for model 'm'\nmore", _NO_MORE),
        (
            "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: ModelError: [schwift:model_error] "
            "FileNotFoundError: [Errno 2] No such file or directory: '/srv/repo/m_direct/1/rf.pkl'\n\nAt:\n"
            "  /srv/repo/m_direct/1/schwift_runtime/model.py(35): initialize\n",
            "the model's code raised FileNotFoundError while it was loaded: the server's log has the details",
        ),
        ("[schwift:load_error] ratio 1/2 is no file At: /srv/x.py(3)", "ratio 1/2 is no file"),
        ("failed to open /opt/tritonserver/backends/python/libtriton_python.so: denied", _NO_MORE),
        ("loading took over 60 s", "loading took over 60 s"),
    ],
)  # fmt: skip
def test_a_load_reason_is_one_line_with_nothing_of_the_users_code(text: str, reason: str) -> None:
    assert load_reason(text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("failed: [schwift:model_unfit] AttributeError: 'Tree' object has no attribute 'a/b'\nAt: /srv/x",
         "AttributeError: 'Tree' object has no attribute 'a/b'"),
        ("[schwift:model_unfit] ImportError: cannot import name 'x' from 'lib.y' (/opt/v/lib/y.py)",
         "ImportError: cannot import name 'x' from 'lib.y'"),
        ("[schwift:model_unfit] OSError: '/opt/it is' and /opt/lib are not there",
         "OSError: is' and are not there"),
        ("", "the server's log has the details"),
    ],
)  # fmt: skip
def test_why_a_model_cannot_answer_is_the_first_line_without_paths(text: str, reason: str) -> None:
    assert unfit_reason(text) == reason


def test_what_a_model_raised_is_named_by_its_type() -> None:
    assert raised_in("failed: [schwift:model_error] ValueError: /secret") == "ValueError"
    assert raised_in("onnx runtime error 2") == "an error"


def test_an_error_that_no_input_could_help_says_so() -> None:
    unfit, other = (translate(Code.INTERNAL, f"[schwift:{code}] no") for code in ("model_unfit", "model_error"))
    assert isinstance(unfit, errors.ModelFailed) and isinstance(other, errors.ModelFailed)
    assert (unfit.unfit, other.unfit) == (True, False)
