"""What a client is told of a model's error: the line that it raised, and nothing of anybody's input."""

from __future__ import annotations

import pytest

from adapter import errors
from adapter.backend.error_mapping import translate
from adapter.http.failure_reason import name_kind, tell_reason

BODY = b'{"features": [[5.1, 4, "Bern", "a secret"]]}'


def raised(line: str) -> errors.AdapterError:
    return translate(None, f"in ensemble 'm': [schwift:model_error] {line}\n\nAt:\n  /srv/repo/model.py(3): predict")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("KeyError: 'town'", "KeyError: 'town'"),
        ("ValueError: could not convert string to float: 'Bern'", "ValueError: could not convert string to float: …"),
        ("ValueError: could not convert string to float: 'BERN'", "ValueError: could not convert string to float: …"),
        ('ValueError: no "a secret" here', "ValueError: no … here"),
        ("ValueError: X has 12 features, but 3 are expected", "ValueError: X has 12 features, but 3 are expected"),
        ("ValueError: X has 4 features, but 3 are expected", "ValueError: X has … features, but 3 are expected"),
        ("ValueError: 5.0999999 is too much", "ValueError: … is too much"),
        ("ValueError: array([5.1, 4.0])", "ValueError: array([…, …])"),
        ("FileNotFoundError: no '/srv/data/lookup.csv'", "FileNotFoundError: no"),
        ("ValueError: features: 'features' is wrong", "ValueError: features: 'features' is wrong"),
        ("E: " + "x" * 400, "E: " + "x" * 297),
    ],
)
def test_the_line_is_told_without_values_of_the_body_and_paths(line: str, told: str) -> None:
    assert tell_reason(raised(line), BODY, {"features"}) == told


def test_without_the_body_at_hand_every_number_and_text_is_left_out() -> None:
    error = raised("ValueError: X has 12 features, and 'x'")
    assert tell_reason(error, None, ()) == "ValueError: X has … features, and …"


def test_of_a_wrong_answer_it_is_told_how_it_is_wrong() -> None:
    error = translate(None, "[schwift:bad_model_output] output y has rows of shape [2], and the config says [3]")
    assert tell_reason(error, b"{}", {"y"}) == "output y has rows of shape [2], and the config says [3]"
    assert name_kind(error) == "output y has rows of shape [2], and the config says [3]"


def test_anybody_may_know_the_type_alone() -> None:
    assert name_kind(raised("ValueError: 'Bern' is no number")) == "ValueError"
    assert name_kind(translate(None, "onnx runtime error 2: Non-zero status code")) == "an error"


def test_of_other_errors_nothing_is_told() -> None:
    assert tell_reason(errors.Overloaded("busy", "12 of 12"), b"{}", ()) == ""
