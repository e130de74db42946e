"""Made-up rows: the same as arrays and as lists, and none in the documents where they would fill them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from adapter.codec.codec import Codec
from adapter.codec.decode import FeaturesParser
from adapter.http.openapi.model_paths import describe_model
from converter.schema.samples.sample_file import Sample
from tests.support.fakes.entries import TensorLike, make_entry


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint64", "bool", "string"])
@pytest.mark.parametrize("dims", [(4,), (3, 150), (2, -1, 5)])
def test_arrays_are_what_the_lists_are(dtype: str, dims: tuple[int, ...]) -> None:
    likes = (("features", dtype, dims),)
    parser = FeaturesParser(make_entry(inputs=likes))
    made = parser.example(2)["features"]
    expected = parser.to_arrays([(parser.example_features(2),)])["features"]
    assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(made, expected)


def test_large_rows_have_no_example_in_the_documents() -> None:
    entry = make_entry(inputs=(("features", "float32", (3, 224, 224)),))
    part = describe_model(Codec(entry), "m", None)
    example = json.loads(orjson.dumps(part.examples["predict"]))
    assert example == {"summary": "m", "description": "Too large to be shown: features float32[rows, 3, 224, 224]"}
    operation = json.loads(orjson.dumps(part.paths["/predict/m"]))["post"]
    assert set(operation["requestBody"]["content"]["application/json"]) == {"schema"}


@pytest.mark.parametrize(
    ("inputs", "features", "shown"),
    [([("x", "float32", (4,))], [[1, 2, 3, 4]] * 500, [[1, 2, 3, 4]] * 2),
     ([("a", "float32", (1,)), ("b", "float32", (2,))], {"a": [[1], [2], [3]], "b": [[1, 2]] * 3},
      {"a": [[1], [2]], "b": [[1, 2]] * 2}),
     # One row, and texts.
     ([("x", "float32", (4,))], [1, 2, 3, 4], [[1, 2, 3, 4]]),
     ([("x", "string", ())], ["a", "b", "c"], ["a", "b"]),
     # As wide as an example may be, and wider.
     ([("x", "float32", (1000,))], [[1] * 1000] * 2, [[1] * 1000] * 2),
     ([("x", "float32", (1001,))], [[1] * 1001] * 2, None),
     ([("x", "float32", (-1,))], [[2] * 60_000] * 2, [[1], [1]])],
)  # fmt: skip
def test_no_more_of_a_sample_is_read_than_is_shown(
    monkeypatch: pytest.MonkeyPatch, inputs: Sequence[TensorLike], features: Any, shown: Any
) -> None:
    """Requests wait meanwhile."""
    codec, read = Codec(make_entry(inputs=inputs)), []
    parse = codec.request.parse

    def noted(body: bytes) -> Any:
        read.append(len(body))
        return parse(body)

    monkeypatch.setattr(codec.request, "parse", noted)
    part = describe_model(codec, "m", Sample(features, [[0]]))
    example = json.loads(orjson.dumps(part.examples["predict"]))
    assert example.get("value", {"features": None})["features"] == shown
    assert sum(read) < 5000
