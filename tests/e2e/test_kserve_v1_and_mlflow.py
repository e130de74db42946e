"""KServe V1 and MLflow through a real Triton: every form of a request answers what /predict does."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter import VERSION
from tests.e2e import named_inputs, sample_models
from tests.support.servers.ports import free_port
from tests.support.servers.server import ROOT, Served, wait_for
from tests.support.servers.serving import serving

EXAMPLES = ("multiply", "nearest_city")


@pytest.fixture(scope="module")
def dialects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("dialects")
    named_inputs.write_all(folder / "models")
    sample_models.write_all(folder / "models")
    for name in EXAMPLES:
        shutil.copytree(ROOT / "models" / name, folder / "models" / name)
    for name in ("fussy_null", "cached", "short_queue", "tuned", "eager", "onnx_label"):
        shutil.rmtree(folder / "models" / name)
    with serving(folder / "models", folder, PREDICT_TIMEOUT_SECONDS="30", SCHWIFT_DEFAULT_MODEL="mixed") as running:
        yield running


def ask(server: Served, path: str, body: Any, media: str = "application/json") -> httpx.Response:
    if media == "application/json":
        return httpx.post(f"{server.url}{path}", json=body, timeout=30)
    return httpx.post(f"{server.url}{path}", content=body, headers={"Content-Type": media}, timeout=30)


def predictions(server: Served, path: str, body: Any, media: str = "application/json") -> Any:
    response = ask(server, path, body, media)
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"predictions"}
    return response.json()["predictions"]


def ours(server: Served, model: str, features: Any) -> Any:
    response = server.post("predict", model, features)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def records_of(features: Any) -> list[dict[str, Any]]:
    """Rows of several inputs, or of the columns of `mixed`, as objects whose keys are in reverse."""
    if isinstance(features, dict):
        names = list(reversed(features))
        return [dict(zip(names, row, strict=True)) for row in zip(*(features[name] for name in names), strict=True)]
    names = list(reversed(named_inputs.ORDER))
    return [dict(zip(names, reversed(row), strict=True)) for row in features]


def csv_of(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


@pytest.mark.parametrize("name", sorted(named_inputs.MODELS))
def test_instances_and_inputs_are_as_the_features(dialects: Served, name: str) -> None:
    rows = named_inputs.MODELS[name].rows
    wanted = ours(dialects, name, rows)
    instances = records_of(rows) if isinstance(rows, dict) else rows
    assert predictions(dialects, f"/v1/models/{name}:predict", {"instances": instances}) == wanted
    assert predictions(dialects, f"/models/{name}/invocations", {"instances": instances}) == wanted
    assert predictions(dialects, f"/models/{name}/invocations", {"inputs": rows}) == wanted


def test_columns_in_another_order_are_matched_by_name(dialects: Served) -> None:
    rows = named_inputs.MODELS["mixed"].rows
    wanted, records = ours(dialects, "mixed", rows), records_of(rows)
    split = {"columns": list(records[0]), "data": [list(record.values()) for record in records]}
    assert split["columns"] == ["children", "age", "income", "city"]
    assert predictions(dialects, "/v1/models/mixed:predict", {"instances": records}) == wanted
    for path in ("/invocations", "/models/mixed/invocations"):
        assert predictions(dialects, path, {"dataframe_split": split}) == wanted
        assert predictions(dialects, path, {"dataframe_records": records}) == wanted
        assert predictions(dialects, path, {"inputs": named_inputs.TABLE}) == wanted
        assert predictions(dialects, path, csv_of(records), "text/csv; charset=utf-8") == wanted
    bare = csv_of([dict(zip(named_inputs.ORDER, row, strict=True)) for row in rows]).partition("\n")[2]
    assert predictions(dialects, "/invocations", bare, "text/csv; header=absent") == wanted


def test_missing_and_unknown_columns_are_400_and_named(dialects: Served) -> None:
    record = {**records_of(named_inputs.MODELS["mixed"].rows)[0], "town": "Bern"}
    del record["city"]
    split = {"columns": list(record), "data": [list(record.values())]}
    answers = [
        ask(dialects, "/invocations", {"dataframe_split": split}),
        ask(dialects, "/invocations", csv_of([record]), "text/csv"),
    ]
    said = 'columns: the column "city" is missing, and the model has no column "town".'
    for answer in answers:
        assert (answer.status_code, answer.json()) == (400, {"error_code": "BAD_REQUEST", "message": said})
    answer = ask(dialects, "/v1/models/mixed:predict", {"instances": [record]})
    assert answer.status_code == 400
    assert answer.json() == {"error": 'row 0: the model has no column "town".'}


def test_a_large_table_is_answered_alike(dialects: Served) -> None:
    rows = named_inputs.MODELS["mixed"].rows * 3000
    records = records_of(rows)
    wanted = ours(dialects, "mixed", rows)
    assert len(csv_of(records)) < 256 * 1024 < len(str(records))
    assert predictions(dialects, "/invocations", {"dataframe_records": records}) == wanted
    assert predictions(dialects, "/invocations", csv_of(records * 4), "text/csv") == wanted * 4


def test_outputs_one_value_wide_are_flat_and_several_are_objects(dialects: Served) -> None:
    features = {"left": [[1, 2], [3, 4]], "right": [[5, 6], [7, 80]]}
    answer = ours(dialects, "pairs", features)
    wanted = [{"sum": total, "longer": text} for total, (text,) in zip(answer["sum"], answer["longer"], strict=True)]
    assert wanted[1]["sum"] == [10, 84]
    assert predictions(dialects, "/v1/models/pairs:predict", {"instances": records_of(features)}) == wanted
    assert predictions(dialects, "/models/pairs/invocations", {"inputs": features}) == wanted
    texts = {"word": [["größe"], ['"],["']], "flag": [[True], [False]]}
    answer = ours(dialects, "onnx_strings", texts)
    wanted = [
        {"same": word, "negated": flag} for (word,), (flag,) in zip(answer["same"], answer["negated"], strict=True)
    ]
    assert wanted == [{"same": "größe", "negated": False}, {"same": '"],["', "negated": True}]
    flat = [{"flag": True, "word": "größe"}, {"word": '"],["', "flag": False}]
    assert predictions(dialects, "/v1/models/onnx_strings:predict", {"instances": flat}) == wanted
    table = 'flag,word\ntrue,größe\n0,"""],["""\n'
    assert predictions(dialects, "/models/onnx_strings/invocations", table.encode(), "text/csv") == wanted


def test_models_their_state_and_what_sagemaker_asks(dialects: Served) -> None:
    def get(path: str) -> tuple[int, Any]:
        response = httpx.get(f"{dialects.url}{path}")
        return response.status_code, response.json() if "json" in response.headers["content-type"] else response.text

    status, listed = get("/v1/models")
    names = [model["name"] for model in get("/available_models")[1]["models"]]
    assert (status, listed) == (200, {"models": names})
    assert get("/v1/models/mixed") == (200, {"name": "mixed", "ready": True})
    assert get("/v1/models/none") == (404, {"error": "No model has this name: see /v1/models."})
    assert get("/ping") == (200, "\n")
    assert get("/version") == (200, VERSION)


def test_errors_of_the_model_have_the_dialects_form(dialects: Served) -> None:
    for path, body in [
        ("/v1/models/fussy:predict", {"instances": [[-1, 0]]}),
        ("/models/fussy/invocations", {"inputs": [[-1, 0]]}),
    ]:
        plain = dialects.post("predict", "fussy", [[-1, 0]])
        answer = ask(dialects, path, body)
        assert answer.status_code == plain.status_code == 500
        assert list(answer.json().values())[-1] == plain.json()["detail"]


def test_requests_of_all_dialects_share_a_models_calls(dialects: Served) -> None:
    """While one call is at the model for two seconds, the others wait, and leave together."""
    before = metric(dialects, 'schwift_calls_total{model_name="fussy"}')
    slow = ("/predict/fussy", {"features": [[-5, 2]]})
    others = [
        ("/predict/fussy", {"features": [[1, 2]]}, {"model": "fussy", "predictions": [[2, 4]]}),
        ("/v1/models/fussy:predict", {"instances": [[3, 4]]}, {"predictions": [[6, 8]]}),
        ("/models/fussy/invocations", {"inputs": [[5, 6]]}, {"predictions": [[10, 12]]}),
    ] * 4
    with ThreadPoolExecutor(1 + len(others)) as pool:
        first = pool.submit(ask, dialects, *slow)
        wait_for(lambda: metric(dialects, "schwift_in_flight") >= 1)
        answers = list(pool.map(lambda other: ask(dialects, other[0], other[1]).json(), others))
        assert first.result().status_code == 200
    assert answers == [wanted for _, _, wanted in others]
    assert metric(dialects, 'schwift_calls_total{model_name="fussy"}') - before < 1 + len(others)
    for endpoint in ("v1", "mlflow"):
        assert metric(dialects, f'inference_requests_total{{endpoint="{endpoint}",model_name="fussy"}}') >= 1


def metric(server: Served, name: str) -> float:
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        if line.rpartition(" ")[0] == name:
            return float(line.rpartition(" ")[2])
    raise AssertionError(name)


def test_a_server_with_sagemakers_settings_answers_its_two_requests(tmp_path: Path) -> None:
    """One model alone is asked by /invocations without being named; 8080 itself may be somebody's."""
    models, port = tmp_path / "opt" / "ml" / "model", free_port()
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    with serving(None, tmp_path, "--port", str(port), MODEL_DIRECTORY=str(models), SCHWIFT_HOST="0.0.0.0") as server:
        here = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{here}/ping").status_code == 200
        answer = httpx.post(f"{here}/invocations", content="a,b,c\n1,2,3\n", headers={"Content-Type": "text/csv"})
        assert (answer.status_code, answer.json()) == (200, {"predictions": [[2.5, 5.0, 7.5]]})
        assert str(port) in server.url
