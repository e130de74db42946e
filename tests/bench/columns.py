"""What columns cost: `python -m tests.bench.columns [ROUNDS]`, 50 mixed columns beside 50 plain floats.

Models that do nothing but answer: one takes an array of 50 floats, the others a DataFrame of 25 floats, 10 integers, 10
strings and 5 booleans, as `columns:` (sent as rows) or as several inputs (sent as records). One client asks each in
turn, so that what the machine does meanwhile happens to all; printed is how far their medians are apart.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import joblib

from tests.e2e.sample_models import folder
from tests.support.servers.server import Server, serving, stop_on_sigterm

_ROUNDS = 5000
_WARM_UP = 200
_KINDS = [("float64", 1.5)] * 25 + [("int64", 3)] * 10 + [("string", "Bern")] * 10 + [("bool", True)] * 5
# The dtypes are mixed, as a user's are.
_COLUMNS = [(f"c{i}", *_KINDS[i * 7 % 50]) for i in range(50)]
_PYTHON = "  backend: python\n  model_args: {class: 'model:Counts'}\n"
_MODEL = '''
"""Answers with the number of its columns, and is of a library's kind where names are known."""
import numpy as np


class Counts:
    def predict(self, X):
        return np.full((len(X), 1), X.shape[1], dtype=np.float64)


class Named(Counts):
    feature_names_in_ = np.array([f"c{i}" for i in range(50)], dtype=object)
'''


def main() -> int:
    stop_on_sigterm()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    with tempfile.TemporaryDirectory(prefix="schwift-columns-") as name:
        root = Path(name)
        _write(root / "models")
        with serving(root / "models", root) as server:
            _measure(server, rounds)
    return 0


def _write(models: Path) -> None:
    output = "  output: {shape: [-1, 1], dtype: float64}\n"
    columns = "".join(f"      - {{name: {name}, dtype: {dtype}}}\n" for name, dtype, _ in _COLUMNS)
    inputs = "".join(f"    - {{name: {name}, shape: [-1, 1], dtype: {dtype}}}\n" for name, dtype, _ in _COLUMNS)
    configs = {
        "plain": f"{_PYTHON}  input: {{shape: [-1, 50], dtype: float64}}\n",
        "columns": f"{_PYTHON}  input:\n    columns:\n{columns}",
        "several": f"  backend: joblib\n  model_args: {{model_file: m.joblib}}\n  input:\n{inputs}",
    }
    for name, config in configs.items():
        path = folder(models, name, f"model:\n  name: {name}\n{config}{output}")
        (path / "model.py").write_text(_MODEL, encoding="utf-8")
    # Its class is a module beside it, as it is where the model is served.
    sys.path.insert(0, str(models / "several"))
    joblib.dump(importlib.import_module("model").Named(), models / "several" / "m.joblib")


def _measure(server: Server, rounds: int) -> None:
    row = [value for _, _, value in _COLUMNS]
    features: dict[str, Any] = {
        "plain": [[1.5] * 50],
        "columns": [row],
        "several": [{name: value for name, _, value in _COLUMNS}],
    }
    bodies = {name: json.dumps({"features": value}).encode() for name, value in features.items()}
    seconds: dict[str, list[float]] = {name: [] for name in bodies}
    with httpx.Client(base_url=server.url, headers={"Content-Type": "application/json"}) as client:
        for i in range(_WARM_UP + rounds):
            # Each comes as often behind each other one.
            for name in sorted(bodies, reverse=bool(i % 2)):
                taken = _ask(client, name, bodies[name])
                if i >= _WARM_UP:
                    seconds[name].append(taken)
    plain = statistics.median(seconds["plain"])
    print(f"{'plain':>8}: p50 {1e3 * plain:.3f} ms")
    for name in ("columns", "several"):
        print(f"{name:>8}: p50 {1e3 * (statistics.median(seconds[name]) - plain):+.3f} ms")


def _ask(client: httpx.Client, name: str, body: bytes) -> float:
    started = time.perf_counter()
    response = client.post(f"/predict/{name}", content=body)
    taken = time.perf_counter() - started
    assert response.status_code == 200, response.text
    return taken


if __name__ == "__main__":
    sys.exit(main())
