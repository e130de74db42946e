"""What the page asks for: the numbers of the models that it shows, and what their callers need to know."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from adapter import errors
from adapter.app import create_app
from adapter.page.live_numbers import MOST_MODELS
from adapter.sharing import SharedState
from converter.schema.manifest import Manifest, ModelEntry
from converter.schema.settings import load_settings
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_columns_entry, make_entry
from tests.support.http.web_app import assert_error, get, running, visit
from tests.support.packs import HOST, make_host_entry, make_member

ROW = {"features": [[1, 2, 3, 4]]}


def test_requests_are_counted_by_answer_and_latency_over_all_endpoints() -> None:
    async def use(client: httpx.AsyncClient) -> None:
        before = (await client.get("/page/live?models=m")).json()
        for endpoint in ("predict", "predict", "predict_batched"):
            assert (await client.post(f"/{endpoint}/m", json=ROW)).status_code == 200
        assert (await client.post("/predict/m", json={"features": "no"})).status_code == 422
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        assert (await client.post("/v2/models/m/infer", json={"inputs": [tensor]})).status_code == 200
        after = (await client.get("/page/live?models=m")).json()
        old, new = before["models"]["m"], after["models"]["m"]
        assert (old["requests"], old["errors"], sum(old["latency"])) == (0, 0, 0)
        assert (new["requests"], new["errors"], sum(new["latency"])) == (5, 1, 4)
        assert (new["calls"], new["call_rows"]) == (4, 4)
        assert len(new["latency"]) == len(after["latency_ms"]) + 1
        assert after["at"] > before["at"]

    visit(use, None, make_entry())


def test_it_says_how_a_model_is_and_why() -> None:
    backend = FakeBackend(load_errors={"b_direct": errors.ModelUnavailable("Not there.", "model.py is missing")})

    async def use(client: httpx.AsyncClient) -> None:
        live = (await client.get("/page/live?models=a,b")).json()
        a, b = live["models"]["a"], live["models"]["b"]
        assert {key: a[key] for key in ("state", "reason", "regime", "breaker", "pack")} == {
            "state": "ready", "reason": None, "regime": "idle", "breaker": "closed", "pack": None,
        }  # fmt: skip
        health = (await client.get("/health")).json()["models"]["b"]
        assert (b["state"], b["reason"]) == ("failed", health["reason"])
        assert b["reason"]
        assert live["states"] == {"ready": 1, "failed": 1}
        assert (live["triton_up"], live["draining"], live["in_flight"]) == (True, False, 0)
        assert live["in_flight_limit"] == 77

    visit(use, backend, make_entry("a"), make_entry("b"), max_concurrent_requests=77)


def test_a_packed_model_names_its_pack() -> None:
    manifest = Manifest(models=(make_member("a"), make_entry("b")), hosts=(make_host_entry(),))
    app = create_app(load_settings(None), manifest, FakeBackend(), SharedState([HOST, "a", "b"]))

    async def main() -> Any:
        async with running(app) as client:
            return (await client.get("/page/live?models=a,b")).json()

    models = asyncio.run(main())["models"]
    shown = {name: (model["pack"], model["moved_out"]) for name, model in models.items()}
    assert shown == {"a": ("default", 0), "b": (None, 0)}


@pytest.mark.parametrize(
    ("query", "names"),
    [("", []), ("?models=", []), ("?models=m1,nothing,m1,m0", ["m1", "m0"]), ("?models=%00,%ff,../m0", [])],
)
def test_only_models_that_are_asked_for_and_there_are_answered(query: str, names: list[str]) -> None:
    live = get(f"/page/live{query}", None, *(make_entry(f"m{i}") for i in range(3)))
    assert (live.status_code, list(live.json()["models"])) == (200, names)
    assert live.headers["cache-control"] == "no-store"


def test_a_page_gets_no_more_models_than_fit_a_screen() -> None:
    entries = [make_entry(f"m{i}") for i in range(MOST_MODELS + 6)]
    live = get("/page/live?models=" + ",".join(entry.name for entry in entries), None, *entries).json()
    assert list(live["models"]) == [f"m{i}" for i in range(MOST_MODELS)]
    assert live["states"] == {"ready": MOST_MODELS + 6}


def test_all_states_are_told_only_to_who_does_not_know_them() -> None:
    async def use(client: httpx.AsyncClient) -> tuple[str, str]:
        first = (await client.get("/page/live")).json()
        assert set(first["states_of"]) == {"a", "b"}
        again = (await client.get(f"/page/live?known={first['states_sum']}")).json()
        assert "states_of" not in again
        assert [again[key] for key in ("catalogue", "states_sum")] == [first["catalogue"], first["states_sum"]]
        return first["catalogue"], first["states_sum"]

    entries = make_entry("a"), make_entry("b")
    failing = FakeBackend(load_errors={"b_direct": errors.ModelUnavailable("Not there.", "no")})
    well, ill = visit(use, None, *entries), visit(use, failing, *entries)
    assert well[0] == ill[0]
    assert well[1] != ill[1]


def test_the_catalogue_s_sum_changes_with_a_version() -> None:
    def catalogue(*entries: ModelEntry) -> str:
        return str(get("/page/live", None, *entries).json()["catalogue"])

    entry = make_entry()
    assert catalogue(entry) == catalogue(entry)
    others = {catalogue(entry.model_copy(update={"version": 2})), catalogue(entry, make_entry("n")), catalogue(entry)}
    assert len(others) == 3


def test_callers_are_told_an_example_that_answers_and_the_tensors() -> None:
    columns: list[dict[str, Any]] = [
        {"name": "age", "dtype": "int64", "nullable": True}, {"name": "city", "dtype": "string"},
        {"name": "income", "dtype": "float64"},
    ]  # fmt: skip
    entries = (make_entry("plain"), make_columns_entry(columns, "table"), make_entry("text", [("t", "string", ())]))

    async def use(client: httpx.AsyncClient) -> dict[str, Any]:
        found = {}
        for entry in entries:
            facts = found[entry.name] = (await client.get(f"/page/model/{entry.name}")).json()
            answer = await client.post(f"/predict/{entry.name}", json={"features": facts["example"]})
            assert answer.status_code == 200, answer.text
        return found

    facts = visit(use, None, *entries)
    assert facts["plain"] == {
        "example": [[1, 2, 3, 4]],
        "tensors": [{"name": "x", "datatype": "FP32", "numpy": "float32", "dims": [4], "columns": []}],
        "outputs": ["y"],
    }
    assert set(facts["table"]["example"][0]) == {"age", "city", "income"}
    assert {tensor["datatype"]: tensor["columns"] for tensor in facts["table"]["tensors"]} == {
        "FP64": ["age", "income"], "BYTES": ["city"],
    }  # fmt: skip
    assert facts["text"]["example"] == ["text 1"]


def test_a_row_that_nobody_reads_is_no_example() -> None:
    assert get("/page/model/m", None, make_entry(inputs=[("x", "float32", (40, 40))])).json()["example"] is None


def test_a_model_that_is_not_there_is_an_error_of_ours() -> None:
    assert_error(get("/page/model/other", None, make_entry()), 404, "unknown_model")
