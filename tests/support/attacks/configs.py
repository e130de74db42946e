"""The YAML of a small model, with one thing in it as a stranger would write it."""

from __future__ import annotations

CONFIG = """\
model:
  name: m
  backend: {backend}
  model_args: {{model_file: {file}}}
  input: {{type: array, shape: {shape}, dtype: float32}}
  output: {{type: array, shape: {output}, dtype: float32}}
{more}"""


def config(
    shape: str = "[-1, 4]",
    more: str = "",
    output: str = "[-1, 1]",
    backend: str = "joblib",
    file: str = "m.joblib",
) -> str:
    """The input is on line 5, the output on 6, `more` from line 7 on."""
    return CONFIG.format(shape=shape, more=more, output=output, backend=backend, file=file)
