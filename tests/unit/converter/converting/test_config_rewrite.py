"""A config with another backend: what the user wrote is kept, down to the comments."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from converter.converting.config_rewrite import rewrite

CONFIG = """\
# Mine.
model:
  name: iris                 # what clients use
  backend: sklearn           # a pickle
  model_args:
    model_file: iris.joblib  # ours
    method: predict_proba
  accept_skew: true
  # The shape.
  input:
    shape: [-1, 4]           # of a row
    dtype: float64
  output: {shape: [-1, 3], dtype: float64}
  queue:
    max_size: 7              # few
"""
CHANGES: dict[str, Any] = {
    "backend": "onnx",
    "model_args": {"model_file": "iris.onnx"},
    "accept_skew": None,
    "trusted": None,
}


def test_only_the_keys_that_change_are_written_anew() -> None:
    assert (
        rewrite(CONFIG, CHANGES, "Converted.\nBack: so.")
        == """\
# Converted.
# Back: so.
# Mine.
model:
  name: iris                 # what clients use
  backend: onnx
  model_args: {model_file: iris.onnx}
  # The shape.
  input:
    shape: [-1, 4]           # of a row
    dtype: float64
  output: {shape: [-1, 3], dtype: float64}
  queue:
    max_size: 7              # few
"""
    )


def test_a_key_that_was_not_there_is_added() -> None:
    found = rewrite(CONFIG, {"requirements": ["onnxruntime", "pandas"]}, "x")
    assert yaml.safe_load(found)["model"]["requirements"] == ["onnxruntime", "pandas"]
    assert "max_size: 7              # few" in found


@pytest.mark.parametrize(
    "text",
    [
        "model: {name: a, backend: sklearn, model_args: {model_file: m.pkl}, input: {shape: [-1, 2], dtype: int8}}\n",
        "model:\n  backend: sklearn\n  name: >\n    a\n  model_args:\n    kwargs: [1,\n      2]\n  accept_skew: yes",
        "model:\n  accept_skew:\n  model_args: &here\n    model_file: m.pkl\n  name: 'ü'\n",
    ],
)
def test_whatever_way_it_is_written_the_values_are_right(text: str) -> None:
    wanted = yaml.safe_load(text)["model"]
    wanted.pop("accept_skew", None)
    found = yaml.safe_load(rewrite(text, CHANGES, "x"))["model"]
    assert found == {**wanted, "backend": "onnx", "model_args": {"model_file": "iris.onnx"}}
