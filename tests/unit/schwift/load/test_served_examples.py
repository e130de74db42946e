"""What is asked, of a server that says what models it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schwift.load.bench_server import BenchProblem, BenchServer
from schwift.load.served_examples import choose_models, read_bodies

BOTH = ["predict", "predict_batched"]
MODELS: dict[str, dict[str, Any]] = {
    "rows": {"endpoints": BOTH, "inputs": []},
    "texts": {"endpoints": ["predict"], "inputs": []},
    "two": {"endpoints": BOTH, "inputs": []},
    "people": {"endpoints": BOTH, "inputs": []},
    "image": {
        "endpoints": BOTH,
        "inputs": [
            {"name": "a", "dtype": "float32", "shape": [-1, 2, -1]},
            {"name": "b", "dtype": "int64", "shape": [-1]},
        ],
    },
    "wide": {"endpoints": BOTH, "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 9], "columns": [{}]}]},
    "broken": {"endpoints": BOTH, "inputs": [], "state": "failed"},
}
EXAMPLES: dict[str, Any] = {
    "rows": [[1.0, 2.0], [1.0, 2.0]],
    "texts": ["text"],
    "two": {"a": [[1.0]], "b": [3]},
    "people": [{"age": 3, "city": "text"}],
}
INPUTS = {
    "rows": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}],
    "texts": [{"name": "features", "datatype": "BYTES", "shape": [-1, 1]}],
    "two": [{"name": "b", "datatype": "INT64", "shape": [-1]}, {"name": "a", "datatype": "FP32", "shape": [-1, 1]}],
    "people": [
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]}, {"name": "age", "datatype": "INT64", "shape": [-1, 1]},
    ],
}  # fmt: skip


class Told(BenchServer):
    """Answers itself."""

    def get(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        if path == "/available_models":
            return {"models": [{"name": name, **info} for name, info in MODELS.items()]}
        return {"inputs": INPUTS[name]} if path.startswith("/v2") else {"example": EXAMPLES.get(name)}


SERVER = Told("http://localhost:1")


def body_of(name: str, endpoint: str = "predict", rows: int = 1) -> Any:
    (model,) = choose_models(SERVER, [name], endpoint, rows)
    return json.loads(model.bodies[0])


def test_the_servers_example_is_repeated_to_the_rows() -> None:
    assert body_of("rows", rows=3) == {"features": [[1.0, 2.0]] * 3}
    assert body_of("texts", rows=2) == {"features": ["text", "text"]}
    assert body_of("two", rows=2) == {"features": {"a": [[1.0]] * 2, "b": [3, 3]}}
    assert body_of("people") == {"features": [{"age": 3, "city": "text"}]}


def test_what_the_server_shows_no_example_of_is_made_up() -> None:
    assert body_of("image") == {"features": {"a": [[[0.5], [0.5]]], "b": [0]}}
    with pytest.raises(BenchProblem, match="name a file with a body by --data"):
        body_of("wide")


def test_v2_has_the_same_rows_as_tensors() -> None:
    def tensors(name: str, rows: int) -> dict[str, tuple[str, list[int], list[Any]]]:
        inputs = body_of(name, "v2", rows)["inputs"]
        return {item["name"]: (item["datatype"], item["shape"], item["data"]) for item in inputs}

    assert tensors("rows", 2) == {"features": ("FP32", [2, 2], [1.0, 2.0, 1.0, 2.0])}
    assert tensors("texts", 2) == {"features": ("BYTES", [2, 1], ["text", "text"])}
    assert tensors("two", 1) == {"b": ("INT64", [1], [3]), "a": ("FP32", [1, 1], [1.0])}
    assert tensors("people", 2) == {"city": ("BYTES", [2, 1], ["text"] * 2), "age": ("INT64", [2, 1], [3, 3])}


def test_a_model_that_is_not_there_or_has_another_endpoint_is_said() -> None:
    with pytest.raises(BenchProblem, match="no model nope on /predict: there are rows, texts"):
        body_of("nope")
    with pytest.raises(BenchProblem, match="no model texts on /predict_batched: it has predict"):
        body_of("texts", "predict_batched")


def test_without_names_all_that_could_answer_are_asked(tmp_path: Path) -> None:
    data = tmp_path / "body.json"
    data.write_text('{"features": [[1]]}', encoding="utf-8")
    models = choose_models(SERVER, [], "predict_batched", 1, data)
    assert [model.name for model in models] == ["rows", "two", "people", "image", "wide"]
    assert {model.bodies for model in models} == {(b'{"features": [[1]]}',)}
    assert [model.path for model in models][:2] == ["/predict_batched/rows", "/predict_batched/two"]


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        ('{"features":\n [[1]]}\n', ['{"features": [[1]]}']),
        ("[[1, 2], [3, 4]]", ['{"features": [[1, 2], [3, 4]]}']),
        ('{"features": ["é"]}\n\n{"features": ["b"]}\n', ['{"features": ["é"]}', '{"features": ["b"]}']),
        (
            '{"features": ["a\u2028b"]}\r\n{"features": ["c\x85"]}',
            ['{"features": ["a\u2028b"]}', '{"features": ["c\x85"]}'],
        ),
    ],
)
def test_bodies_come_from_a_file(tmp_path: Path, text: str, bodies: list[str]) -> None:
    path = tmp_path / "data"
    path.write_text(text, encoding="utf-8")
    assert [body.decode() for body in read_bodies(path)] == bodies


@pytest.mark.parametrize(
    ("content", "said"), [(b'{"a": 1}\n\n{', "line 3 is no JSON"), (b" \n", "is empty"), (b"\xff", "cannot be read")]
)
def test_a_file_that_is_none_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(BenchProblem, match=said):
        read_bodies(path)


@pytest.mark.parametrize("url", ["localhost:8005", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://[::1"])
def test_only_addresses_of_servers_are_taken(url: str) -> None:
    with pytest.raises(BenchProblem, match="is no address of a server: write http://HOST:PORT"):
        BenchServer(url)


@pytest.mark.parametrize("url", ["http://user:secret@a", "http://a/?key=secret"])
def test_no_secret_stands_in_an_address(url: str) -> None:
    with pytest.raises(BenchProblem, match="--key-file") as raised:
        BenchServer(url)
    assert "secret" not in str(raised.value)


def test_requests_have_the_key_the_paths_prefix_and_their_length() -> None:
    target = BenchServer("http://[::1]:81/ml/", "k1").target("/predict/a b", [b"{}", b"[10]"])
    assert (target.host, target.port, target.tls) == ("::1", 81, None)
    head, _, body = target.requests[1].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /ml/predict/a%20b HTTP/1.1", b"Host: [::1]:81", b"Content-Type: application/json", b"X-API-Key: k1",
        b"Content-Length: 4",
    ]  # fmt: skip
    assert body == b"[10]"
    assert BenchServer("https://a").target("/", [b""]).port == 443
