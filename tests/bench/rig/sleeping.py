"""Models that take a known time: what is measured around them is not theirs."""

from __future__ import annotations

from pathlib import Path

_CODE = """
import time


class Sleeping:
    def __init__(self, ms):
        self.seconds = ms / 1e3

    def predict(self, X):
        if self.seconds:
            time.sleep(self.seconds)
        return X
"""


def write(models: Path, milliseconds: int, most_rows: int = 512) -> str:
    """Write `models/sleep_<n>`, a Python model that sleeps so long in each call of at most so many rows; its name."""
    name = f"sleep_{milliseconds}"
    folder = models / name
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(_CODE, encoding="utf-8")
    (folder / "model_config.yaml").write_text(
        f"model:\n  name: {name}\n  backend: python\n"
        f"  model_args: {{class: 'model:Sleeping', kwargs: {{ms: {milliseconds}}}}}\n"
        "  input: {type: array, shape: [-1, 4], dtype: float32}\n"
        "  output: {type: array, shape: [-1, 4], dtype: float32}\n"
        f"  preferred_batch_size: {preferred(most_rows)}\n  max_batch_delay_ms: 10\n  rush_batch_size: {most_rows}\n",
        encoding="utf-8",
    )
    return name


def preferred(most_rows: int) -> list[int]:
    """The preferred batch sizes of a model whose calls take at most so many rows."""
    return [rows for rows in (16, 32, 64, 128) if rows <= most_rows] or [most_rows]


def triton_request(rows: int = 1) -> dict[str, object]:
    """The body of Triton's own HTTP inference request for these models."""
    data = [1.0, 2.0, 3.0, 4.0] * rows
    return {"inputs": [{"name": "features", "shape": [rows, 4], "datatype": "FP32", "data": data}]}
