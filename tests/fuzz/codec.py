"""The decoder and the encoder, in this process: any bytes, any arrays."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.codec.codec import Codec
from adapter.errors import AdapterError, BadModelOutput
from converter.schema import dtypes
from tests.fuzz import bodies
from tests.fuzz.oracle import Wrong, strict
from tests.support.fakes.entries import make_entry

NUMERIC = [dtype.name for dtype in dtypes.DTYPES if dtype.json != "string"]
CODECS = [
    *(Codec(make_entry(inputs=[("x", dtype.name, (2,))])) for dtype in dtypes.DTYPES),
    Codec(make_entry(inputs=[("x", "float64", (-1, -1))])),
    Codec(make_entry(inputs=[("x", "int32", (-1,))])),
    Codec(make_entry(inputs=[("a", "int8", (1,)), ("b", "string", (-1,))])),
]


def decode(codec: Codec, body: bytes) -> bool:
    """Whether it became arrays, of finite numbers; else it is an error with a short sentence. All else is raised."""
    try:
        arrays = codec.request.to_arrays([codec.request.parse(body)])
    except AdapterError as error:
        if not 0 < len(error.detail.encode()) <= 1000:
            raise Wrong(f"a detail of {len(error.detail)} letters for {body[:300]!r}") from error
        return False
    for array in arrays.values():
        if not len(array) or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            raise Wrong(f"{body[:300]!r} became {array!r:.300}")
    return True


def fuzz_decoder(cases: int) -> int:
    """How many of the bodies some model took."""
    taken = 0

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(body=st.sampled_from(bodies.MODELS).flatmap(bodies.any_of))
    def check(body: bytes) -> None:
        nonlocal taken
        taken += any([decode(codec, body) for codec in CODECS])

    check()
    return taken


def fuzz_encoder(cases: int) -> int:
    """How many answers were written: valid JSON with the very numbers; any other is a BadModelOutput."""
    written = 0

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), dtype=st.sampled_from(NUMERIC), rows=st.integers(0, 40), nullable=st.booleans())
    def check(data: st.DataObject, dtype: str, rows: int, nullable: bool) -> None:
        nonlocal written
        array = data.draw(arrays_of.arrays(dtype, (rows, 2)))
        more: dict[str, Any] = {"non_finite": None} if nullable else {}
        writer = Codec(make_entry(outputs=[("y", dtype, (2,))], **more)).answer
        counts = [rows] if rows < 2 else [1, rows - 1]
        found = writer.texts({"y": array}, counts)
        start = 0
        for texts, count in zip(found, counts, strict=True):
            part = array[start : start + count]
            start += count
            finite = part.dtype.kind != "f" or bool(np.isfinite(part).all())
            if isinstance(texts, BadModelOutput):
                if finite or nullable:
                    raise Wrong(f"{part!r:.300} was refused")
                continue
            if not finite and not nullable:
                raise Wrong(f"{part!r:.300} was written")
            check_text(writer.body([texts]), part)
            written += 1

    check()
    return written


def check_text(body: bytes, part: Any) -> None:
    rows = strict(body)["predictions"]
    if len(rows) != len(part):
        raise Wrong(f"{len(part)} rows became {len(rows)}")
    for got, wanted in zip(np.ravel(np.array(rows, object)).tolist(), part.ravel().tolist(), strict=True):
        missing = got is None and not np.isfinite(wanted)
        if not missing and part.dtype.type(got) != wanted:
            raise Wrong(f"{wanted!r} became {got!r}")


def fuzz_json(cases: int) -> int:
    """How many bodies this decoder takes; Python's own parser takes them too, with the same numbers."""
    taken = 0
    codec = Codec(make_entry(inputs=[("x", "float64", (3,))]))

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(body=bodies.any_of("multiply"))
    def check(body: bytes) -> None:
        nonlocal taken
        try:
            (array,) = codec.request.to_arrays([codec.request.parse(body)]).values()
        except AdapterError:
            return
        features = json.loads(body.decode())["features"]
        wanted = np.array(features if isinstance(features[0], list) else [features], np.float64)
        if not np.array_equal(array, wanted):
            raise Wrong(f"{body[:300]!r} became {array!r:.300}")
        taken += 1

    check()
    return taken
