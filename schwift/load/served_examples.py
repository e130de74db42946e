"""What to ask a model of a running server: the rows that it documents, a file of the user's, or made-up ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from schwift.load.bench_server import BenchProblem, BenchServer

ENDPOINTS = ("predict", "predict_batched", "v2")


@dataclass(frozen=True)
class BenchModel:
    """A model, and how it is asked: `bodies` are JSON and sent in turn, of `rows` rows each; 0 is not known."""

    name: str
    endpoint: str
    bodies: tuple[bytes, ...]
    rows: int

    @property
    def path(self) -> str:
        """Where its requests go."""
        return f"/v2/models/{self.name}/infer" if self.endpoint == "v2" else f"/{self.endpoint}/{self.name}"


def choose_models(
    server: BenchServer, names: Sequence[str], endpoint: str, rows: int, data: Path | None = None
) -> list[BenchModel]:
    """Return the models of these names, or all that are served, with what to ask them. Raises BenchProblem."""
    found = _list_models(server)
    offered = [name for name, info in found.items() if _has(info, endpoint)]
    for name in names:
        if name not in found:
            raise BenchProblem(f"no model {name} on /{endpoint}: there are {', '.join(offered) or 'none'}")
        if name not in offered:
            raise BenchProblem(f"no model {name} on /{endpoint}: it has {', '.join(found[name]['endpoints'])}")
    chosen = list(names) or [name for name in offered if found[name].get("state") not in ("failed", "unavailable")]
    if not chosen:
        raise BenchProblem(f"{server.url} serves no model on /{endpoint} that could be asked: see its /health")
    if data is not None:
        bodies = read_bodies(data)
        return [BenchModel(name, endpoint, bodies, 0) for name in chosen]
    return [_with_example(server, found[name], endpoint, rows) for name in chosen]


def read_bodies(path: Path) -> tuple[bytes, ...]:
    """Read one body (an object of JSON), one a line, or a list of rows, which become one body. Raises BenchProblem."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchProblem(f"{path} cannot be read: {error}") from error
    try:
        whole = json.loads(text)
    except ValueError:
        # Texts in JSON may have other line breaks, as U+2028, which splitlines takes for ends of lines.
        lines = {number: line for number, line in enumerate(text.split("\n"), 1) if line.strip()}
        for number, line in lines.items():
            try:
                json.loads(line)
            except ValueError as error:
                raise BenchProblem(f"{path}: line {number} is no JSON: {error}: write a body, or one a line") from error
        if not lines:
            raise BenchProblem(f"{path} is empty: write a body, or one a line") from None
        return tuple(line.strip().encode() for line in lines.values())
    return (_encode({"features": whole} if isinstance(whole, list) else whole),)


def _list_models(server: BenchServer) -> dict[str, Any]:
    try:
        return {item["name"]: item for item in server.get("/available_models")["models"]}
    except (KeyError, TypeError) as error:
        raise BenchProblem(f"what answers at {server.url} is no schwift serve: name its URL") from error


def _has(info: Mapping[str, Any], endpoint: str) -> bool:
    return endpoint == "v2" or endpoint in info["endpoints"]


def _with_example(server: BenchServer, info: Mapping[str, Any], endpoint: str, rows: int) -> BenchModel:
    name = info["name"]
    features = server.get(f"/page/model/{quote(name)}").get("example")
    if features is None:
        features = _make_up(info)
    if isinstance(features, dict):
        features = {key: [values[0]] * rows for key, values in features.items()}
    else:
        features = [features[0]] * rows
    body: Any = {"features": features}
    if endpoint == "v2":
        body = {"inputs": _to_v2(server.get(f"/v2/models/{quote(name)}")["inputs"], features)}
    return BenchModel(name, endpoint, (_encode(body),), rows)


def _make_up(info: Mapping[str, Any]) -> Any:
    """Return one row of a model that is too wide for the server to show one."""
    inputs = info["inputs"]
    if any(item.get("columns") for item in inputs):
        raise BenchProblem(f"{info['name']} has too many columns for an example: name a file with a body by --data")
    made = {item["name"]: [_fill(item["dtype"], item["shape"][1:])] for item in inputs}
    return made if len(made) > 1 else next(iter(made.values()))


def _fill(dtype: str, sizes: Sequence[int]) -> Any:
    if sizes:
        return [_fill(dtype, sizes[1:])] * max(1, sizes[0])
    return {"string": "text", "bool": True}.get(dtype, 0 if "int" in dtype else 0.5)


def _to_v2(inputs: Sequence[Mapping[str, Any]], features: Any) -> list[dict[str, Any]]:
    """Return rows as tensors of V2: those of the only input, of each by its name, or of the columns of records."""
    if isinstance(features, list) and isinstance(features[0], dict):
        features = {name: [[record[name]] for record in features] for name in features[0]}
    tensors = []
    for item in inputs:
        values = features[item["name"]] if isinstance(features, dict) else features
        shape = _shape_of(values)
        # Texts and single columns have an axis that rows are sent without.
        shape += [1] * (len(item["shape"]) - len(shape))
        flat = _flatten(values)
        assert len(flat) == math.prod(shape)
        tensors.append({"name": item["name"], "datatype": item["datatype"], "shape": shape, "data": flat})
    return tensors


def _shape_of(values: Any) -> list[int]:
    return [len(values), *_shape_of(values[0])] if isinstance(values, list) else []


def _flatten(values: Any) -> list[Any]:
    return [leaf for value in values for leaf in _flatten(value)] if isinstance(values, list) else [values]


def _encode(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
