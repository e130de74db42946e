"""V2 requests and answers that are compressed, and pages of other origins that ask in V2."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from adapter.backend.protocol import Arrays
from adapter.http.semantics.content_codings import LEAST_PREDICTIONS
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http import web_app

PATH = "/v2/models/m/infer"
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
ROWS = np.arange(12_000, dtype=np.float32).reshape(-1, 4)
SUMS = np.stack([ROWS.sum(1), -ROWS.sum(1)], 1)


async def sums(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    return {"y": np.stack([arrays["x"].sum(1), -arrays["x"].sum(1)], 1)}


def body_of(rows: npt.NDArray[np.float32], raw: bool) -> tuple[bytes, dict[str, str]]:
    """A request in V2, and the headers that it has; with raw tensors both ways or in JSON."""
    x: dict[str, Any] = {"name": "x", "shape": list(rows.shape), "datatype": "FP32"}
    if not raw:
        return json.dumps({"inputs": [{**x, "data": rows.ravel().tolist()}]}).encode(), {}
    x["parameters"] = {"binary_data_size": rows.nbytes}
    head = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
    return head + rows.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def asked(body: bytes, headers: Mapping[str, str], **settings: Any) -> httpx.Response:
    entry = make_entry(direct_max_rows=4096)
    return web_app.post(PATH, None, FakeBackend(sums), entry, headers=dict(headers), content=body, **settings)


def values(response: httpx.Response) -> list[float]:
    assert response.status_code == 200, response.text
    length = response.headers.get("inference-header-content-length")
    if length is None:
        found: list[float] = response.json()["outputs"][0]["data"]
        return found
    numbers: list[float] = np.frombuffer(response.content[int(length) :], np.float32).tolist()
    return numbers


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("rows", [1, 3000])
def test_a_compressed_request_is_answered_as_it_is_without_its_coding(coding: str, raw: bool, rows: int) -> None:
    body, headers = body_of(ROWS[:rows], raw)
    response = asked(PACK[coding](body), {**headers, "Content-Encoding": coding})
    assert values(response) == SUMS[:rows].ravel().tolist()


def test_the_limit_is_of_the_inflated_body_and_the_error_is_v2s() -> None:
    body, headers = body_of(ROWS, raw=True)
    packed = gzip.compress(body + bytes(1 << 20))
    assert len(packed) < 64 * 1024
    response = asked(packed, {**headers, "Content-Encoding": "gzip"}, max_body_bytes=64 * 1024)
    assert response.status_code == 413
    assert set(response.json()) == {"error"}
    assert asked(body, {**headers, "Content-Encoding": "br"}).status_code == 415


def test_large_answers_in_json_are_compressed_and_raw_tensors_are_not() -> None:
    body, headers = body_of(ROWS, raw=False)
    response = asked(body, {**headers, "Accept-Encoding": "gzip"})
    assert (response.headers["content-encoding"], response.headers["vary"]) == ("gzip", "accept-encoding")
    assert int(response.headers["content-length"]) < len(response.content)
    assert len(response.content) >= LEAST_PREDICTIONS
    assert values(response) == SUMS.ravel().tolist()
    body, headers = body_of(ROWS, raw=True)
    response = asked(body, {**headers, "Accept-Encoding": "gzip"})
    assert len(response.content) >= LEAST_PREDICTIONS
    assert "content-encoding" not in response.headers
    assert values(response) == SUMS.ravel().tolist()


def test_a_page_of_another_origin_may_read_where_the_json_ends() -> None:
    body, headers = body_of(ROWS[:1], raw=True)
    response = asked(body, {**headers, "Origin": "http://page"}, cors_origins="http://page")
    assert values(response) == SUMS[0].tolist()
    assert response.headers["access-control-allow-origin"] == "http://page"
    assert "inference-header-content-length" in response.headers["access-control-expose-headers"].lower()
