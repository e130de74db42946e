"""Generated bodies: right ones, nearly right ones, and any bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(width=32), st.floats(), st.text(max_size=8)
)
NESTED: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = {
    "multiply": st.lists(NUMBERS, min_size=3, max_size=3),
    "double": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
    "echo": st.lists(st.text(max_size=20), min_size=1, max_size=1),
}
MODELS = sorted(ROWS)
_DATATYPES = {"multiply": "FP32", "double": "INT64", "echo": "BYTES"}
# Wherever a body is changed, something of this may come in.
_PIECES = [b"NaN", b"Infinity", b"1e999", b"-0", b"9" * 400, b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\ud800",
           b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\0", b"true", b"null", b'"features":', b" " * 50]  # fmt: skip


def right(model: str) -> st.SearchStrategy[bytes]:
    """A body that the model takes, in one of the ways to write it."""
    rows = st.lists(ROWS[model], min_size=1, max_size=6)
    return st.tuples(rows, st.booleans(), st.sampled_from([None, 1])).map(
        lambda drawn: json.dumps({"features": drawn[0]}, ensure_ascii=drawn[1], indent=drawn[2]).encode(
            errors="surrogatepass"
        )
    )


def v2_request(model: str, rows: list[Any]) -> dict[str, Any]:
    """Rows as the V2 protocol has them."""
    values = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    return {"inputs": [{"name": "features", "shape": shape, "datatype": _DATATYPES[model], "data": values}]}


def sent_in_v2(body: bytes | str | None) -> list[Any] | None:
    """The rows of a body that `v2_request` made; None of any other."""
    try:
        (part,) = json.loads(body or b"")["inputs"]
        count, width = part["shape"]
        # A generated one may be of 10 ** 18 rows.
        if width < 1 or count * width != len(part["data"]):
            return None
        rows = [part["data"][i * width : (i + 1) * width] for i in range(count)]
        model = next(model for model, datatype in _DATATYPES.items() if datatype == part["datatype"])
        return rows if v2_request(model, rows) == {"inputs": [part]} == json.loads(body or b"") else None
    except (ValueError, TypeError, KeyError, LookupError, StopIteration):
        return None


@st.composite
def mutated(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """A text with pieces of it changed, doubled, left out or moved."""
    text = draw(sources)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        until = min(len(text), at + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=4)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            text = text[:at] + piece + text[at:]
        elif kind == 1:
            text = text[:at] + piece + text[until:]
        elif kind == 2:
            text = text[:until] + text[at:]
        else:
            text = text[:at] + text[until:]
    return text


def any_of(model: str) -> st.SearchStrategy[bytes]:
    return st.one_of(
        right(model),
        mutated(right(model)),
        NESTED.map(lambda value: json.dumps({"features": value}).encode()),
        NESTED.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=80),
    )
