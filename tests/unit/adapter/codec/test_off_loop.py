"""Large bodies read by the helper process: the same tensors and the same errors as small ones, and the loop turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter import errors
from adapter.codec.codec import Codec
from adapter.codec.large_bodies import LargeBodies, LargeBody
from adapter.codec.off_loop import OffLoop
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_entry
from tests.support.processes import alive, wait_until

ENTRIES = {
    "float32": make_entry(inputs=(("x", "float32", (2,)),)),
    "int8": make_entry(inputs=(("x", "int8", (2,)),)),
    "bool": make_entry(inputs=(("x", "bool", (1,)),)),
    "string": make_entry(inputs=(("x", "string", (2,)),)),
    "free": make_entry(inputs=(("x", "float64", (-1, 2)),)),
    "two": make_entry(inputs=(("a", "int64", (1,)), ("b", "string", (2,)))),
}
SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [1, -2, 3.0, 2.5, 300, 1e39, 2**70, True, None, "a", 'é:"', [], {}, {"a": 1}]
)
ROWS = st.lists(st.lists(SCALARS, min_size=1, max_size=3) | SCALARS, max_size=4)


def outcome(entry: ModelEntry, body: bytes) -> Any:
    """What the plain way makes of a body: its tensors, or the error and how many rows were counted."""
    parser = Codec(entry).request
    try:
        features = parser.parse(body)
    except (errors.BadFeatures, errors.MalformedJson) as error:
        return type(error), error.detail, 0
    try:
        return {name: (array.dtype, array.tolist()) for name, array in parser.to_arrays([features]).items()}
    except errors.BadFeatures as error:
        return type(error), error.detail, len(features[0])


@contextlib.contextmanager
def held(body: bytes) -> Iterator[LargeBody]:
    """A body as requests have it."""
    large = LargeBodies(1 << 26).begin()
    try:
        large.append(body)
        yield large
    finally:
        large.close()


async def through(off_loop: OffLoop, entry: ModelEntry, body: bytes) -> Any:
    """The same, by the helper."""
    try:
        with held(body) as large:
            features, unfit = await off_loop.parse(entry, large, 60)
    except (errors.BadFeatures, errors.MalformedJson) as error:
        return type(error), error.detail, 0
    if unfit is not None:
        return type(unfit), unfit.detail, len(features[0])
    arrays = Codec(entry).request.to_arrays([features])
    return {name: (array.dtype, array.tolist()) for name, array in arrays.items()}


def run(what: Callable[[OffLoop], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        off_loop = OffLoop(**options)
        try:
            return await what(off_loop)
        finally:
            off_loop.close()

    return asyncio.run(main())


def drawn(data: st.DataObject, kind: str) -> bytes:
    rows = ROWS if kind != "two" else st.fixed_dictionaries({"a": ROWS, "b": ROWS})
    text = json.dumps({"features": data.draw(rows)})
    cut = data.draw(st.none() | st.integers(0, len(text)))
    return text[:cut].encode()


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_helper_and_loop_agree_on_tensors_and_errors(data: st.DataObject) -> None:
    bodies = [(ENTRIES[kind], drawn(data, kind)) for kind in ENTRIES for _ in range(12)]

    async def ask(off_loop: OffLoop) -> list[Any]:
        return [await through(off_loop, entry, body) for entry, body in bodies]

    assert run(ask) == [outcome(entry, body) for entry, body in bodies]


def test_large_bodies_of_every_kind_agree() -> None:
    count = 60_000
    bodies = {
        "float32": {"features": [[i, i / 7] for i in range(count)]},
        "int8": {"features": [[i % 100, 1.0] for i in range(count)]},
        "string": {"features": [[f"{i}:é", ""] for i in range(count)]},
        "free": {"features": [[[i, 1]] for i in range(count)]},
        "two": {"features": {"a": [[i] for i in range(count)], "b": [[str(i), "x"] for i in range(count)]}},
    }

    async def ask(off_loop: OffLoop) -> None:
        for kind, value in bodies.items():
            body = json.dumps(value).encode()
            assert await through(off_loop, ENTRIES[kind], body) == outcome(ENTRIES[kind], body)

    run(ask)


def test_the_first_offender_at_the_end_of_a_large_body_is_named() -> None:
    body = b'{"features": [' + b"[1,2]," * 100_000 + b'[1,"x"]]}'

    async def ask(off_loop: OffLoop) -> Any:
        return await through(off_loop, ENTRIES["float32"], body)

    assert run(ask) == (errors.BadFeatures, "features[100000][1]: expected a number, got a string.", 0)


def test_large_and_small_requests_are_joined() -> None:
    parser = Codec(ENTRIES["float32"]).request
    small = parser.parse(b'{"features": [[5, 6]]}')
    large: Any = (np.array([[1, 2], [3, 4]], dtype="float32"),)
    joined = parser.to_arrays([small, large, small])["x"]
    assert joined.tolist() == [[5, 6], [1, 2], [3, 4], [5, 6]]
    part: Any = (large[0][:1],)
    assert parser.to_arrays([part])["x"].tolist() == [[1, 2]]


def test_the_loop_turns_while_the_helper_reads() -> None:
    body = b'{"features": [' + b",".join([b"[1,2]"] * 1_000_000) + b"]}"

    async def ask(off_loop: OffLoop) -> int:
        model_locks = 0
        with held(body) as large:
            task = asyncio.ensure_future(off_loop.parse(ENTRIES["float32"], large, 60))
            while not task.done():
                await asyncio.sleep(0.001)
                model_locks += 1
            features, unfit = await task
        assert (np.shape(features[0]), unfit) == ((1_000_000, 2), None)
        return model_locks

    assert run(ask) > 10


def test_a_helper_that_is_killed_is_replaced() -> None:
    async def ask(off_loop: OffLoop) -> None:
        assert await through(off_loop, ENTRIES["float32"], b"[]") == outcome(ENTRIES["float32"], b"[]")
        first = off_loop.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(errors.Overloaded), held(b"[]") as large:
            await off_loop.parse(ENTRIES["float32"], large, 60)
        assert await through(off_loop, ENTRIES["float32"], b"[]") == outcome(ENTRIES["float32"], b"[]")
        assert off_loop.process_id not in (None, first)

    run(ask)


def test_the_deadline_passes_while_the_helper_hangs_and_the_next_body_gets_another() -> None:
    async def ask(off_loop: OffLoop) -> None:
        await through(off_loop, ENTRIES["float32"], b"[]")
        assert off_loop.process_id is not None
        os.kill(off_loop.process_id, signal.SIGSTOP)
        with pytest.raises(errors.DeadlineExceeded), held(b"[]") as large:
            await off_loop.parse(ENTRIES["float32"], large, 0.2)
        assert await through(off_loop, ENTRIES["float32"], b"[]") == outcome(ENTRIES["float32"], b"[]")

    run(ask)


def test_the_helper_ends_when_nothing_large_comes() -> None:
    async def ask(off_loop: OffLoop) -> None:
        await through(off_loop, ENTRIES["float32"], b"[]")
        process = off_loop.process_id
        assert process is not None
        while off_loop.process_id is not None:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(wait_until, lambda: not alive(process))

    run(ask, idle_seconds=0.05)


@pytest.mark.parametrize(
    "kind, most",
    [("float32", 65536 + 64), ("string", 65536 + 2 * 262144), ("free", None), ("two", 65536 + 32 + 524288)],
)
def test_a_row_has_a_most_of_bytes(kind: str, most: int | None) -> None:
    assert Codec(ENTRIES[kind]).request.most_bytes_of_a_row() == most
