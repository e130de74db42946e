"""Tensors of every form in joined calls: each request gets back its own part of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from adapter.backend.protocol import Arrays
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend, Handler
from tests.support.fakes.entries import make_entry
from tests.support.lifecycle.lifecycle_desk import Desk, Results, double, rows_in


def named(entry: ModelEntry, handler: Handler, requests: Sequence[Any]) -> tuple[Results, FakeBackend]:
    """These features in one turn: the outputs of each as lists."""

    async def main() -> tuple[Results, FakeBackend]:
        desk = Desk(handler, entry)
        results = await asyncio.gather(*[desk.ask_as_json(features) for features in requests])
        names = [tensor.name for tensor in entry.outputs]
        return [dict(zip(names, map(rows_in, texts), strict=True)) for texts in results], desk.backend

    return asyncio.run(main())


def test_strings_are_joined_and_parted() -> None:
    entry = make_entry(inputs=[("x", "string", (1,))], outputs=[("y", "string", (1,))])

    async def mirror(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": arrays["x"]}

    texts = [[["a"]], [[""], ["é" * 1000]], [["\0"]]]
    results, backend = named(entry, mirror, texts)
    assert results == [{"y": text} for text in texts]
    assert len(backend.calls) == 1
    assert backend.calls[0].arrays["x"].dtype == np.object_
    assert backend.calls[0].arrays["x"].tolist() == [[b"a"], [b""], [b"\xc3\xa9" * 1000], [b"\0"]]


def test_several_named_inputs_and_outputs_stay_together() -> None:
    entry = make_entry(
        inputs=[("a", "float32", (1,)), ("b", "int64", (2,))], outputs=[("s", "int64", (1,)), ("t", "float32", (1,))]
    )

    async def both(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        assert arrays["b"].dtype == np.int64
        return {"s": arrays["b"].sum(axis=1, keepdims=True), "t": arrays["a"] * 2}

    def request(rows: int, start: int) -> Any:
        numbers = range(start, start + rows)
        # The order of the names is the request's own.
        return {"b": [[number, number * 10] for number in numbers], "a": [[number] for number in numbers]}

    results, backend = named(entry, both, [request(1, 1), request(3, 2), request(2, 5)])
    assert len(backend.calls) == 1
    assert results == [
        {"s": [[11]], "t": [[2.0]]},
        {"s": [[22], [33], [44]], "t": [[4.0], [6.0], [8.0]]},
        {"s": [[55], [66]], "t": [[10.0], [12.0]]},
    ]


def test_requests_whose_free_axes_differ_are_each_answered() -> None:
    entry = make_entry(inputs=[("x", "float32", (-1,))], outputs=[("y", "float32", (-1,))])
    requests = [[[width] * width] * rows for rows, width in ((1, 2), (2, 2), (1, 3), (2, 1))]
    results, backend = named(entry, double, requests)
    assert results == [
        {"y": [[4.0, 4.0]]}, {"y": [[4.0, 4.0]] * 2}, {"y": [[6.0, 6.0, 6.0]]}, {"y": [[2.0]] * 2}
    ]  # fmt: skip
    assert [call.arrays["x"].shape for call in backend.calls] == [(3, 2), (1, 3), (2, 1)]


def test_rows_that_differ_in_a_later_axis_are_not_joined() -> None:
    entry = make_entry(inputs=[("x", "float32", (2, -1))], outputs=[("y", "float32", (2, -1))])
    requests = [[[[1] * width] * 2] for width in (1, 3, 3)]
    results, backend = named(entry, double, requests)
    assert results == [{"y": [[[2.0] * width] * 2]} for width in (1, 3, 3)]
    assert [call.arrays["x"].shape for call in backend.calls] == [(1, 2, 1), (2, 2, 3)]
