"""Made-up rows: the same as arrays and as lists, and none in the documents where they would fill them."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest

from adapter.codec.codec import Codec
from adapter.codec.decode import FeaturesParser
from adapter.http.openapi.model_paths import describe_model
from tests.support.fakes.entries import make_entry


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
