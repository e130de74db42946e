"""Answers that are compressed: whoever accepts it, from a size on that is worth it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from adapter.backend.protocol import Arrays
from adapter.http.semantics.content_codings import LEAST_PREDICTIONS, accepted_coding
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http.web_app import visit


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip", b"gzip"), (b"GZIP", b"gzip"), (b"x-gzip", b"gzip"), (b"deflate", b"deflate"),
        (b"deflate, gzip", b"gzip"), (b"gzip, deflate, br", b"gzip"), (b"gzip;q=0, deflate", b"deflate"),
        (b"gzip ; q=0.000", None), (b"gzip;q=0.001", b"gzip"), (b"*", b"gzip"), (b"*, gzip;q=0", b"deflate"),
        (b"*;q=0", None), (b"*;q=0, deflate;q=0.5", b"deflate"), (b"br", None), (b"identity", None), (b"", None),
        (b"gzipped", None),
    ],
)  # fmt: skip
def test_the_coding_is_what_the_client_accepts(accept: bytes, coding: bytes | None) -> None:
    assert accepted_coding([(b"host", b"t"), (b"accept-encoding", accept)]) == coding


def test_several_lines_are_one_list_and_none_is_none() -> None:
    assert accepted_coding([(b"accept-encoding", b"br"), (b"accept-encoding", b"deflate")]) == b"deflate"
    assert accepted_coding([(b"accept", b"gzip")]) is None


async def echo(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    return {"y": np.asarray(arrays["x"][:, :2])}


def asked(path: str, accept: str | None, body: Any = None, **settings: Any) -> tuple[httpx.Headers, bytes]:
    """The head, and the body as it came."""

    async def use(client: httpx.AsyncClient) -> tuple[httpx.Headers, bytes]:
        headers = {"Accept-Encoding": accept or "identity"}
        request = client.build_request("GET" if body is None else "POST", path, json=body, headers=headers)
        if accept is None:
            del request.headers["Accept-Encoding"]
        response = await client.send(request, stream=True)
        assert response.status_code == 200
        raw = b"".join([piece async for piece in response.aiter_raw()])
        return response.headers, raw

    backend = FakeBackend(echo, own_metrics=b"# of Triton\n" * 100)
    return visit(use, backend, make_entry(direct_max_rows=4096), **settings)


UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize(
    ("path", "key"), [("/predict/m", "features"), ("/v1/models/m:predict", "instances"), ("/invocations", "inputs")]
)
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("rows", [2500, 12_000])
def test_large_predictions_are_compressed_for_who_accepts_it(path: str, key: str, coding: str, rows: int) -> None:
    body = {key: [[i, 0.5, 0, 0] for i in range(rows)]}
    plain, wanted = asked(path, None, body)
    assert "content-encoding" not in plain and plain["vary"] == "accept-encoding"
    assert len(wanted) >= LEAST_PREDICTIONS
    headers, packed = asked(path, coding, body)
    assert (headers["content-encoding"], headers["vary"]) == (coding, "accept-encoding")
    assert int(headers["content-length"]) == len(packed) < len(wanted) / 3
    assert UNPACK[coding](packed) == wanted


def test_small_predictions_are_left_alone() -> None:
    headers, _ = asked("/predict/m", "gzip", {"features": [[1, 2, 3, 4]] * 1000})
    assert "content-encoding" not in headers and "vary" not in headers


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", ["/metrics", "/openapi.json"])
def test_documents_and_metrics_are_compressed(path: str, coding: str) -> None:
    plain, wanted = asked(path, None)
    vary = "Accept, Accept-Encoding" if path == "/metrics" else "Accept-Encoding"
    assert "content-encoding" not in plain and plain["vary"] == vary
    headers, packed = asked(path, coding)
    assert (headers["content-encoding"], headers["vary"]) == (coding, vary)
    assert headers["content-type"] == plain["content-type"]
    assert int(headers["content-length"]) == len(packed) < len(wanted) / 2
    # A few numbers changed meanwhile.
    assert UNPACK[coding](packed).count(b"\n") == wanted.count(b"\n")


def test_small_documents_are_left_alone_and_vary_is_added_to() -> None:
    headers, _ = asked("/health/live", "gzip")
    assert "content-encoding" not in headers and "vary" not in headers
    headers, _ = asked("/available_models", "gzip")
    assert headers["vary"] == "Accept"


def test_the_tag_of_a_compressed_file_is_weak_and_still_known() -> None:
    plain, wanted = asked("/page/app.js", None)
    headers, packed = asked("/page/app.js", "gzip")
    assert gzip.decompress(packed) == wanted
    assert headers["etag"] == "W/" + plain["etag"]

    async def again(client: httpx.AsyncClient) -> int:
        return (await client.get("/page/app.js", headers={"If-None-Match": headers["etag"]})).status_code

    assert visit(again, FakeBackend(echo), make_entry()) == 304
