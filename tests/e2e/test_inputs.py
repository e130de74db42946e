"""Inputs as models take them, through a real Triton: each answer is the original's own, by every way in."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from converter.schema import dtypes
from converter.schema.manifest import read_manifest
from converter.schema.packed_strings import pack_strings
from tests.e2e import named_inputs
from tests.support.http.generated_clients import differences, generated_client
from tests.support.servers.server import Served
from tests.support.servers.serving import serving


@pytest.fixture(scope="module")
def inputs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("inputs")
    named_inputs.write_all(folder / "models")
    with serving(folder / "models", folder, PREDICT_TIMEOUT_SECONDS="30") as running:
        yield running


def assert_same(answer: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.array(answer, dtype=float), np.array(wanted, dtype=float), rtol=1e-6)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="openapi-python-client needs Python 3.11")
def test_a_generated_client_gets_what_a_plain_post_gets(inputs_server: Served, tmp_path: Path) -> None:
    """Columns as records, texts, several inputs, rows with the names of classes."""
    with generated_client(inputs_server.url, tmp_path) as client:
        assert list(differences(client, inputs_server.url)) == []
        record = dict.fromkeys(named_inputs.ODD, 1.0)
        assert client.call("predict_batched_odd_names_1", {"features": [record]})[0] == 200
        (row,) = client.call("predict_boosted", {"features": [[1.0, None]]}, labels=True)[1]["predictions"]
        assert set(row) == {"no", "yes"}


@pytest.mark.parametrize("name", sorted(named_inputs.MODELS))
def test_both_endpoints_answer_as_the_original(inputs_server: Served, name: str) -> None:
    features, wanted = named_inputs.MODELS[name].rows, named_inputs.MODELS[name].expected()
    response = inputs_server.post("predict", name, features)
    assert response.status_code == 200, response.text
    assert_same(response.json()["predictions"], wanted)
    for i, answer in enumerate(wanted):
        row = [features[i]] if isinstance(features, list) else {key: [rows[i]] for key, rows in features.items()}
        response = inputs_server.post("predict_batched", name, row)
        assert response.status_code == 200, response.text
        assert_same(response.json()["predictions"], [answer])


def test_records_columns_and_rows_are_the_same_and_are_cut(inputs_server: Served) -> None:
    """There are 40 rows, and the largest batch is 8."""
    columns = {name: values * 10 for name, values in named_inputs.TABLE.items()}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = [[record[name] for name in named_inputs.ORDER] for record in records]
    wanted = named_inputs.MODELS["mixed"].expected() * 10
    for features in (columns, records, rows):
        response = inputs_server.post("predict", "mixed", features)
        assert response.status_code == 200, response.text
        assert_same(response.json()["predictions"], wanted)
    assert_same(inputs_server.post("predict_batched", "mixed", records[0]).json()["predictions"], wanted[:1])
    response = inputs_server.post("predict_batched", "mixed", columns)
    assert (response.status_code, response.json()["code"]) == (422, "already_batched")


def test_a_large_body_of_columns_is_answered_alike(inputs_server: Served) -> None:
    times = 3000
    columns = {name: values * times for name, values in named_inputs.TABLE.items()}
    response = inputs_server.post("predict", "mixed", columns)
    assert response.status_code == 200, response.text
    assert_same(response.json()["predictions"], named_inputs.MODELS["mixed"].expected() * times)


@pytest.mark.parametrize("client", ["http", "grpc"])
@pytest.mark.parametrize("suffix", ["", "_direct"])
def test_tritons_own_clients_get_the_same(inputs_server: Served, client: str, suffix: str) -> None:
    """Missing strings are 0xFF for the front, and have the length -1 for the direct model."""
    entry = read_manifest(inputs_server.repository).model("mixed")
    assert entry is not None
    library: Any = tritonclient.http if client == "http" else tritonclient.grpc
    sent = []
    for tensor in entry.inputs:
        names = [column.name for column in entry.columns if column.wire_dtype == tensor.dtype]
        values = zip(*(named_inputs.TABLE[name] for name in names), strict=True)
        missing = math.nan if tensor.dtype != "string" else b"\xff" if not suffix else None
        rows = [[missing if v is None else v.encode() if isinstance(v, str) else v for v in row] for row in values]
        array = np.array(rows, dtype=dtypes.by_name(tensor.dtype).numpy)
        packs = bool(suffix) and tensor.dtype == "string"
        arrays = pack_strings(array) if packs else (array,)
        for wire, value in zip(tensor.pack() if packs else (tensor,), arrays, strict=True):
            item = library.InferInput(wire.name, list(value.shape), dtypes.by_name(wire.dtype).triton)
            item.set_data_from_numpy(value)
            sent.append(item)
    with library.InferenceServerClient(
        inputs_server.triton_http if client == "http" else inputs_server.triton_grpc
    ) as triton:
        result = triton.infer("mixed" + suffix, sent)
    assert_same(result.as_numpy("predictions"), named_inputs.MODELS["mixed"].expected())


def test_classes_are_named_where_they_are_asked_for(inputs_server: Served) -> None:
    boosted = named_inputs.MODELS["boosted"]
    answer = inputs_server.post("predict", "boosted?labels=true", boosted.rows).json()["predictions"]
    assert [list(row) for row in answer] == [["no", "yes"]] * 4
    assert_same([list(row.values()) for row in answer], boosted.expected())
    (row,) = inputs_server.post("predict_batched", "boosted?labels=true", boosted.rows[:1]).json()["predictions"]
    assert row == answer[0]
    assert inputs_server.post("predict", "mixed?labels=true", named_inputs.MODELS["mixed"].rows).status_code == 400


def test_what_is_missing_or_unknown_is_named(inputs_server: Served) -> None:
    record = {name: values[0] for name, values in named_inputs.TABLE.items()}
    response = inputs_server.post("predict", "mixed", [record, {**record, "cty": "Bern"}])
    assert (response.status_code, response.json()["code"]) == (422, "bad_features")
    assert response.json()["detail"] == 'row 1: the model has no column "cty" (did you mean city?).'
    del record["age"]
    assert inputs_server.post("predict", "mixed", record).json()["detail"] == "row 0: column age is missing."
    assert "nullable: true" in inputs_server.post("predict", "texts", ["a", None]).json()["detail"]
