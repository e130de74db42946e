"""GET /openapi.json as a whole: valid, with each model's own paths, and with the models that are there now."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from adapter.backend.protocol import Arrays
from adapter.http.openapi.document import OpenApiDocument
from adapter.http.openapi.model_paths import ModelPart, describe_model
from adapter.http.openapi.operation_names import name_models
from adapter.http.openapi.value_schemas import squash
from adapter.http.predict import PredictEndpoint
from adapter.http.routes import predict_router
from adapter.http.schemas import PredictRequest
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.attacks.keyed import add_key
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_columns_entry, make_entry, make_manifest
from tests.support.http.openapi_reading import (
    answer_schema,
    complaints,
    example_of,
    examples,
    follow,
    operations,
    references,
)
from tests.support.http.web_app import assert_error, get, visit
from tests.support.lifecycle.served_models import make_registry

NAMES = [
    "a.b", "a-b", "a_b", "A_B", "batched", "batched_x", "x", "v_1_1", "v_11", "predict", "import", "9lives", "stats",
    "predict_request", "V2Server", "x_labels", "x_answer", "None", "health",
]  # fmt: skip
QUERIES = ("", "?labels=true")
COLUMNS = [
    "class",
    "a b",
    "A-B",
    "d",
    "self",
    "to_dict",
    "größe",
    "€",
    "''",
    " ",
    "*/",
    "{{x}}",
    "{% x %}",
    "0",
    "$ref",
]


def odd_models() -> list[ModelEntry]:
    """Names, columns, dtypes and classes that are hard on documents and on what is generated of them."""
    entries = [make_entry(name) for name in NAMES]
    other = {"name": "other", "dtype": "string"}
    entries += [
        make_columns_entry([{"name": name, "dtype": "int64", "nullable": True}, other], name=f"column_{i}")
        for i, name in enumerate(COLUMNS)
    ]  # fmt: skip
    entries += [
        make_entry(f"m_{dtype.name}", [("x", dtype.name, (3,))], [("y", dtype.name, (2,))]) for dtype in dtypes.DTYPES
    ]
    wide = [{"name": f"c{i}", "dtype": ("float64", "string", "int8", "bool")[i % 4]} for i in range(200)]
    return [
        *entries,
        make_columns_entry(wide, name="wide"),
        make_columns_entry([{"name": name, "dtype": "float64"} for name in ("Age", "age", "AGE")], name="cases"),
        make_entry("said", description='He said """ \\N{x} \\ {braces} \n import os #' + " more" * 50),
        make_entry("texts", [("x", "string", ())], [("y", "string", (1,))], classes=["a", "b"]),
        make_entry(
            "two",
            [("a", "int64", (1,)), ("b b", "string", (-1, 2))],
            [("p", "float32", (2,)), ("label", "int64", (1,))],
            classes=["x y", "x_y"],
        ),
        make_entry("classified", outputs=[("p", "float32", (2,))], classes=["yes", "no"], non_finite=None),
        make_entry("one_only", endpoints=["predict_batched"]),
        make_entry("large", [("x", "float32", (3, 64, 64))]),
    ]


async def ones(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    """One in each place, or a text."""
    rows = len(next(iter(arrays.values())))
    made = {}
    for tensor in outputs:
        shape = (rows, *(abs(size) for size in tensor.dims))
        value = b"a" if tensor.dtype == "string" else 1
        made[tensor.name] = np.full(shape, value, dtypes.by_name(tensor.dtype).numpy)
    return made


def document_of(*entries: ModelEntry, query: str = "", **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = get(f"/openapi.json{query}", None, *entries, **settings).json()
    return found


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(*odd_models())


def test_it_is_valid_and_all_that_it_refers_to_is_there(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    # A property may be called so too.
    found = [item for item in references(document) if item["$ref"].startswith("#/")]
    assert len(found) > 1000
    for item in found:
        follow(document, item)


def test_every_name_in_it_stays_another_in_code(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert [name for name, count in Counter(map(squash, ids)).items() if count > 1] == []
    assert {"predict", "predict_batched", "predict_9lives", "health", "health_ready", "v2_infer", "v1_predict"} <= set(
        ids
    )
    assert all(name.isidentifier() and name == name.lower() for name in ids)
    classes = Counter(map(squash, document["components"]["schemas"]))
    assert [name for name, count in classes.items() if count > 1] == []


def test_each_model_has_a_path_for_each_of_its_endpoints(document: dict[str, Any]) -> None:
    for entry in odd_models():
        for endpoint in ("predict", "predict_batched"):
            assert (f"/{endpoint}/{entry.name}" in document["paths"]) == (endpoint in entry.spec.endpoints)
    operation = document["paths"]["/predict/said"]["post"]
    assert operation["summary"].startswith('said 1.0.0: He said """ \\N{x} \\ {braces} import os # more')
    assert len(operation["summary"]) == 120
    # What the summary has no room for.
    assert operation["description"].count(" more") == 50
    assert operation["tags"] == ["models"]


def test_each_example_is_by_its_own_schema(document: dict[str, Any]) -> None:
    found = list(examples(document))
    assert len(found) > 200
    wrong = {where: said for where, schema, value in found if (said := complaints(document, schema, value))}
    assert wrong == {}


def test_each_model_answers_its_example_with_what_its_schema_says(document: dict[str, Any]) -> None:
    entries = odd_models()

    async def use(client: httpx.AsyncClient) -> list[str]:
        wrong = []
        for entry in entries:
            for endpoint, query in itertools.product(entry.spec.endpoints, QUERIES):
                path = f"/{endpoint}/{entry.name}"
                example = example_of(document, path)
                if example is None or (query and not entry.spec.classes):
                    assert example or entry.name == "large"
                    continue
                answer = await client.post(path + query, json=example)
                said = complaints(document, answer_schema(document, path, "post", answer.status_code), answer.json())
                rows = answer.json()["predictions"] if answer.status_code == 200 else []
                count = len(rows) if isinstance(rows, list) else len(rows["p"])
                if answer.status_code != 200 or said or count != (2 if endpoint == "predict" else 1):
                    wrong.append(f"{path}{query}: {answer.text} {said}")
        return wrong

    assert visit(use, FakeBackend(ones), *entries) == []


def test_what_is_refused_has_the_body_that_is_promised() -> None:
    entry = make_entry("m")

    async def use(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        for path, status in (
            (f"/{endpoint}/m", status) for endpoint in entry.spec.endpoints for status in (400, 415, 422)
        ):
            content = b'{"features": [["x"]]}' if status == 422 else b"{"
            media = "text/plain" if status == 415 else "application/json"
            answer = await client.post(path, content=content, headers={"Content-Type": media})
            assert answer.status_code == status
            schema = answer_schema(document, path, "post", status)
            assert complaints(document, schema, answer.json()) == []
            promised = follow(document, document["paths"][path]["post"]["responses"][str(status)])
            assert answer.json()["code"] in promised["content"]["application/json"]["examples"]
            assert answer.headers["x-request-id"]

    visit(use, None, entry)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200), ("/health/ready", 200), ("/health/live", 200), ("/available_models", 200), ("/v2", 200),
        ("/v2/health/live", 200), ("/v2/health/ready", 200), ("/v2/models/stats", 200), ("/v2/models/m", 200),
        ("/v2/models/m/ready", 200), ("/v2/models/m/config", 200), ("/v2/models/m/stats", 200), ("/v1/models", 200),
        ("/v1/models/m", 200), ("/v2/models/no", 404), ("/v1/models/no", 404), ("/v2/models/m/versions/7", 404),
        ("/v2/models/m/versions/1/ready", 200),
    ],
)  # fmt: skip
def test_what_is_read_is_what_the_document_says(path: str, status: int) -> None:
    check_answer(path, status, FakeBackend())


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/v2/health/ready", "/v1/models/m", "/v2/models/m/ready", "/ping"]
)
def test_what_is_not_ready_is_503_with_a_body_and_a_time(path: str) -> None:
    answer = check_answer(path, 503, FakeBackend(up=False))
    assert answer.headers["retry-after"] == "1"


def check_answer(path: str, status: int, backend: FakeBackend) -> httpx.Response:
    """Ask for it, and hold the answer against the document."""

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        document = (await client.get("/openapi.json")).json()
        answer = await client.get(path)
        assert answer.status_code == status
        written = path.replace("/m", "/{name}").replace("/{name}odels", "/models").replace("/no", "/{name}")
        written = written.replace("/7", "/{version}").replace("/versions/1", "/versions/{version}")
        if path.startswith("/v1"):
            written = written.replace("{name}", "{model_name}")
        promised = follow(document, document["paths"][written]["get"]["responses"][str(status)])
        for name, header in promised["headers"].items():
            assert not follow(document, header).get("required") or name in answer.headers
        media = answer.headers["content-type"].partition(";")[0]
        if media == "application/json":
            assert complaints(document, promised["content"][media]["schema"], answer.json()) == []
        assert media in promised["content"]
        return answer

    return visit(use, backend, make_entry("m"))


def test_models_can_be_asked_for_by_name() -> None:
    entries = [make_entry(name) for name in ("a", "b", "c")]
    found = document_of(*entries, query="?model=a&model=c")
    assert "/predict/a" in found["paths"] and "/predict/c" in found["paths"] and "/predict/b" not in found["paths"]
    assert set(found["paths"]["/predict/{model_name}"]["post"]["parameters"][0]["examples"]) == {"a", "c"}
    assert_error(get("/openapi.json?model=a&model=no", None, *entries), 404, "unknown_model")


def test_many_models_do_not_make_it_endless() -> None:
    columns: list[dict[str, Any]] = [dict(name=f"{'column' * 40}_{i}", dtype="float64") for i in range(900)]
    entries = [make_columns_entry(columns, name=f"m{i}") for i in range(24)]
    answer = get("/openapi.json", None, *entries)
    found = answer.json()
    kept = [path for path in found["paths"] if path.startswith("/predict/m")]
    assert 10 < len(kept) < 24 and len(answer.content) < 9_000_000
    assert f"{len(kept)} of 24 models have paths here" in found["info"]["description"]
    assert "/predict/m9" in document_of(*entries, query="?model=m9")["paths"]


def test_examples_are_rows_of_the_sample(tmp_path: Path) -> None:
    folder = tmp_path / "m_direct" / "1"
    folder.mkdir(parents=True)
    columns: list[dict[str, Any]] = [dict(name="city", dtype="string"), dict(name="age", dtype="int64", nullable=True)]
    entry = make_columns_entry(columns).model_copy(update={"sample": "sample.json"})
    rows = [["Bern", 31], ["Lima", None], ["Rome", 5]]
    sample = {"features": rows, "predictions": [[0, 0]] * 3}
    (folder / "sample.json").write_text(json.dumps(sample))
    found = document_of(entry, repository=str(tmp_path))
    records = [{"city": "Bern", "age": 31}, {"city": "Lima", "age": None}]
    assert example_of(found, "/predict/m") == {"features": records}
    assert example_of(found, "/predict_batched/m") == {"features": records[:1]}
    generic = found["paths"]["/predict/{model_name}"]["post"]["requestBody"]["content"]["application/json"]
    assert generic["examples"]["m"]["value"] == {"features": records}


@pytest.mark.parametrize("text", ["", "{", '{"features": [["Bern"]], "predictions": [[1]]}', '{"other": 1}', None])
def test_a_sample_that_does_not_fit_is_passed_over(tmp_path: Path, text: str | None) -> None:
    folder = tmp_path / "m_direct" / "1"
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "sample.json").write_text(text)
    entry = make_entry("m").model_copy(update={"sample": "sample.json"})
    assert example_of(document_of(entry, repository=str(tmp_path)), "/predict/m") == {
        "features": [[1.0, 2.0, 3.0, 4.0]] * 2
    }


def test_with_keys_on_it_says_how_they_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add_key(file, "reader", "--read")
    found = get("/openapi.json", headers={"X-API-Key": key}, api_keys_file=file).json()
    assert set(found["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    assert found["security"] == [{"ApiKey": []}, {"Bearer": []}]
    free = [path for path, _, operation in operations(found) if operation.get("security") == []]
    assert free == ["/health/ready", "/health/live"]
    without = document_of()
    assert "security" not in without and "securitySchemes" not in without["components"]


async def test_it_follows_models_that_come_and_go_and_are_built_anew(tmp_path: Path) -> None:
    manifest = make_manifest(make_entry("a"), make_entry("rf-1"))
    registry = make_registry(manifest)
    app = FastAPI()
    # Nobody asks for a prediction here.
    app.include_router(predict_router(cast(PredictEndpoint, None)))
    followed = []
    document = OpenApiDocument(app, (PredictRequest,), registry, tmp_path, False, lambda: followed.append(1))

    async def read() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await document.write())
        return found

    def ids(found: dict[str, Any]) -> list[str]:
        return [operation["operationId"] for path, _, operation in operations(found) if path.startswith("/predict/")]

    assert ids(await read()) == ["predict", "predict_a", "predict_rf_1"]
    registry.replace([make_entry("a", [("x", "int8", (7,))]), make_entry("RF_1")], removed=["b"])
    found = await read()
    assert example_of(found, "/predict/a") == {"features": [[1, 2, 3, 4, 5, 6, 7]] * 2}
    rest = name_models(["a", "rf-1", "RF_1"])
    assert set(ids(found)) == {"predict", "predict_a", f"predict_{rest['rf-1']}", f"predict_{rest['RF_1']}"}
    registry.replace([], removed=["rf-1", "a"])
    found = await read()
    assert ids(found) == ["predict", "predict_rf_1"]
    assert example_of(found, "/predict/RF_1") == {"features": [[1.0, 2.0, 3.0, 4.0]] * 2}
    assert not [name for name in found["components"]["schemas"] if name.startswith(("PredictA", "AAnswer"))]
    assert len(followed) == 3


async def test_requests_have_their_turns_while_many_models_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = make_registry(make_manifest(*(make_entry(f"m{i}") for i in range(9))))
    app = FastAPI()
    app.include_router(predict_router(cast(PredictEndpoint, None)))
    document = OpenApiDocument(app, (PredictRequest,), registry, tmp_path, False, lambda: None)
    turn, turns_of_models = 0, []

    def describe_slowly(*arguments: Any) -> ModelPart:
        turns_of_models.append(turn)
        time.sleep(0.005)
        return describe_model(*arguments)

    monkeypatch.setattr("adapter.http.openapi.document.describe_model", describe_slowly)
    writing = asyncio.create_task(document.write())
    while not writing.done():
        await asyncio.sleep(0)
        turn += 1
    assert "/predict/m8" in json.loads(await writing)["paths"]
    assert len(set(turns_of_models)) == 9
    # They are not described again.
    await document.write()
    assert len(turns_of_models) == 9
