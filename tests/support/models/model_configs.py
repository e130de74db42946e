"""Texts of model_config.yaml in the forms that users have."""

from __future__ import annotations

ONNX = """\
model:
  name: RF_10
  version: "1.0.0"
  description: A classifier.
  backend: onnx            # sklearn | joblib | onnx | python | torch
  caching: true            # optional
  model_args:
    model_file: rf.onnx    # .pkl .joblib .onnx .pt .pth, beside this file
    device: cpu
  input:  {type: array, shape: [-1, 4], dtype: float32}
  output: {type: array, shape: [-1, 1], dtype: int64}
  preferred_batch_size: [16, 32, 64, 128]
  max_batch_delay_ms: 10
  rush_batch_size: 256     # taken when queues grow
"""


PYTHON = """\
model:
  name: multiply
  version: "1.0.0"
  backend: python
  model_args:
    class: "models.python_backend.model:Multiply"
    kwargs: {factor: 2.5, labels: [a, b], nested: {deep: true}}
  input:  {type: array, shape: [-1, 3], dtype: str}
  output: {type: array, shape: [-1, 3], dtype: string}
"""
