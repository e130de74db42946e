"""For every example: the served answers are the original model's, by every way in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from converter.schema import dtypes
from converter.schema.manifest import read_manifest
from converter.schema.packed_strings import unpack_strings
from tests.e2e.originals import EXAMPLES, ROWS, expected
from tests.support.servers.server import ROOT, Served


def assert_same(answer: list[list[Any]], wanted: list[list[Any]]) -> None:
    assert len(answer) == len(wanted)
    if isinstance(wanted[0][0], str):
        assert answer == wanted
    else:
        np.testing.assert_allclose(np.array(answer), np.array(wanted), rtol=1e-5, atol=1e-9)


def test_every_example_is_tried() -> None:
    assert sorted(path.parent.name for path in (ROOT / "models").glob("*/model_config.yaml")) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_predict_answers_as_the_original(server: Served, name: str) -> None:
    response = server.post("predict", name, ROWS[name].tolist())
    assert response.status_code == 200, response.text
    assert response.json()["model"] == name
    assert_same(response.json()["predictions"], expected(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_predict_batched_answers_as_the_original_row_by_row(server: Served, name: str) -> None:
    wanted = expected(name)
    for row, answer in zip(ROWS[name].tolist(), wanted, strict=True):
        response = server.post("predict_batched", name, [row])
        assert response.status_code == 200, response.text
        assert_same(response.json()["predictions"], [answer])


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("client", ["http", "grpc"])
@pytest.mark.parametrize("suffix", ["", "_direct"])
def test_tritons_own_clients_get_the_same(server: Served, name: str, client: str, suffix: str) -> None:
    """`m` and `m_direct`, with the tensor names of the manifest."""
    entry = read_manifest(server.repository).model(name)
    assert entry is not None
    source, target = entry.inputs[0], entry.outputs[0]
    library: Any = tritonclient.http if client == "http" else tritonclient.grpc
    rows = ROWS[name].astype(dtypes.by_name(source.dtype).numpy)
    tensor = library.InferInput(source.name, list(rows.shape), dtypes.by_name(source.dtype).triton)
    tensor.set_data_from_numpy(rows)
    with library.InferenceServerClient(server.triton_http if client == "http" else server.triton_grpc) as triton:
        result = triton.infer(name + suffix, [tensor])
    packed = suffix == "_direct" and target.dtype == "string"
    answer = (
        unpack_strings(*(result.as_numpy(item.name) for item in target.pack()))
        if packed
        else result.as_numpy(target.name)
    )
    if target.dtype == "string":
        answer = np.array([[item.decode() for item in row] for row in answer])
    assert_same(answer.tolist(), expected(name))
