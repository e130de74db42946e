"""model_config.yaml → ModelSpec: the forms that users have, read unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.schema.config_loader import load_spec
from converter.schema.model import ModelSpec
from tests.support.models.model_configs import ONNX, PYTHON

MODELS = Path(__file__).parents[4] / "models"


SKLEARN = """\
model:
  name: "iris-svc.v2"
  version: 2.1
  description: "a model"
  backend: sklearn
  model_args:
    model_file: "model.pkl"
  input:
    type: array
    shape: [-1, 4]
    dtype: float
  output:
    type: array
    shape:
      - -1
    dtype: integer
  preferred_batch_size: [16, 32]
  max_batch_delay_ms: 2.5
"""


def load(folder: Path, text: str) -> ModelSpec:
    path = folder / "model_config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


def test_onnx_form_loads_unchanged(tmp_path: Path) -> None:
    spec = load(tmp_path, ONNX)
    assert (spec.name, spec.version, spec.description) == ("RF_10", "1.0.0", "A classifier.")
    assert (spec.backend, spec.caching) == ("onnx", True)
    assert (spec.model_args.model_file, spec.model_args.device) == ("rf.onnx", "cpu")
    assert [(tensor.type, tensor.shape, tensor.dtype) for tensor in spec.input] == [("array", (-1, 4), "float32")]
    assert [(tensor.type, tensor.shape, tensor.dtype) for tensor in spec.output] == [("array", (-1, 1), "int64")]
    assert spec.preferred_batch_size == (16, 32, 64, 128)
    assert (spec.max_batch_delay_ms, spec.rush_batch_size) == (10, 256)


def test_sklearn_form_loads_unchanged(tmp_path: Path) -> None:
    spec = load(tmp_path, SKLEARN)
    assert (spec.name, spec.version, spec.backend) == ("iris-svc.v2", "2.1", "sklearn")
    assert spec.model_args.model_file == "model.pkl"
    assert (spec.input[0].dtype, spec.output[0].dtype) == ("float64", "int64")
    assert (spec.output[0].shape, spec.output[0].row_dims) == ((-1,), (1,))
    assert (spec.max_batch_delay_ms, spec.rush_batch_size) == (2.5, None)


def test_python_form_loads_unchanged(tmp_path: Path) -> None:
    spec = load(tmp_path, PYTHON)
    assert spec.model_args.class_ == "models.python_backend.model:Multiply"
    assert spec.model_args.kwargs == {"factor": 2.5, "labels": ["a", "b"], "nested": {"deep": True}}
    assert (spec.input[0].dtype, spec.output[0].dtype) == ("string", "string")


@pytest.mark.parametrize("suffix", [".joblib", ".pkl"])
@pytest.mark.parametrize("backend", ["sklearn", "joblib"])
def test_both_names_of_the_joblib_backend_take_both_suffixes(tmp_path: Path, backend: str, suffix: str) -> None:
    text = SKLEARN.replace("backend: sklearn", f"backend: {backend}").replace("model.pkl", f"model{suffix}")
    assert load(tmp_path, text).model_args.model_file == f"model{suffix}"


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_takes_both_suffixes(tmp_path: Path, suffix: str) -> None:
    spec = load(tmp_path, ONNX.replace("backend: onnx", "backend: torch").replace("rf.onnx", f"net{suffix}"))
    assert (spec.backend, spec.model_args.model_file) == ("torch", f"net{suffix}")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/model_config.yaml")), ids=lambda path: path.parent.name)
def test_example_models_load_under_their_folders_names(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.parent.name
    assert spec.version == "1.0.0"


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + ONNX.replace("\n", "\r\n").encode())
    assert load_spec(path).name == "RF_10"


def test_description_keeps_its_unicode(tmp_path: Path) -> None:
    spec = load(tmp_path, ONNX.replace("A classifier.", "Größe → 日本語"))
    assert spec.description == "Größe → 日本語"


def test_anchor_and_alias_stand_for_the_value(tmp_path: Path) -> None:
    text = ONNX.replace("input:  {", "input: &tensor {").replace(
        "output: {type: array, shape: [-1, 1], dtype: int64}", "output: *tensor"
    )
    spec = load(tmp_path, text)
    assert spec.output == spec.input
    assert spec.output[0].shape == (-1, 4)


def test_keys_of_kwargs_are_text_as_written(tmp_path: Path) -> None:
    text = PYTHON.replace("{factor: 2.5, labels: [a, b], nested: {deep: true}}", "{1: one, on: two}")
    assert load(tmp_path, text).model_args.kwargs == {"1": "one", "on": "two"}


def test_relative_model_file_is_normalised(tmp_path: Path) -> None:
    assert load(tmp_path, ONNX.replace("rf.onnx", "./graphs//rf.onnx")).model_args.model_file == "graphs/rf.onnx"


def test_device_is_read_in_any_case(tmp_path: Path) -> None:
    assert load(tmp_path, ONNX.replace("device: cpu", "device: CPU")).model_args.device == "cpu"
