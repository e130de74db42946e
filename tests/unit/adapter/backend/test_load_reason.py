"""What is said of a model that did not load: one line, and nothing of its code."""

from __future__ import annotations

import pytest

from adapter.backend.load_reason import load_reason

_NO_MORE = "Triton could not load it: the server's log has the details"


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
