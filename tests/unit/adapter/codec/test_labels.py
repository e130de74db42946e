"""Answers under the names of classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from adapter.codec.codec import Codec
from adapter.errors import BadModelOutput
from tests.support.fakes.entries import TensorLike, make_entry


def labelled(classes: list[Any], *outputs: tuple[TensorLike, Any]) -> Any:
    codec = Codec(make_entry(outputs=[like for like, _ in outputs], classes=classes))
    arrays = {like[0]: np.array(values, like[1].replace("string", "object")) for like, values in outputs}
    assert codec.labels is not None
    (texts,) = codec.answer.texts(arrays, [len(outputs[0][1])])
    assert isinstance(texts, tuple)
    return json.loads(codec.answer.body(codec.labels.label([texts])))["predictions"]


@pytest.mark.parametrize(
    ("classes", "output", "values", "wanted"),
    [
        (["a", "b"], ("y", "float32", (2,)), [[0.1, 0.9], [1, 0]], [{"a": 0.1, "b": 0.9}, {"a": 1.0, "b": 0.0}]),
        ([False, True], ("y", "float64", (2,)), [[0.25, 0.75]], [{"false": 0.25, "true": 0.75}]),
        ([3, 1.5], ("y", "float64", (2,)), [[0.25, 0.75]], [{"3": 0.25, "1.5": 0.75}]),
        (["a", "b"], ("y", "string", (1,)), [[b"b"], [b"a"]], [{"label": "b"}, {"label": "a"}]),
        ([10, 20], ("y", "int64", (1,)), [[20], [10]], [{"label": 20}, {"label": 10}]),
        (["a", "b"], ("y", "int64", (1,)), [[1], [0]], [{"label": "b"}, {"label": "a"}]),
    ],
)
def test_a_row_is_an_object(classes: list[Any], output: TensorLike, values: Any, wanted: Any) -> None:
    assert labelled(classes, (output, values)) == wanted


def test_each_of_several_outputs_goes_its_own_way() -> None:
    answer = labelled(
        ["a", "b"],
        (("label", "int64", (1,)), [[1]]),
        (("scores", "float32", (2,)), [[0.25, 0.75]]),
        (("more", "float32", (3,)), [[1, 2, 3]]),
    )
    assert answer == {"label": [{"label": "b"}], "scores": [{"a": 0.25, "b": 0.75}], "more": [[1.0, 2.0, 3.0]]}


@pytest.mark.parametrize("index", [2, -1])
def test_the_index_of_no_class_is_no_answer(index: int) -> None:
    with pytest.raises(BadModelOutput):
        labelled(["a", "b"], (("y", "int64", (1,)), [[index]]))


def test_numbers_are_those_of_the_plain_answer() -> None:
    values = np.array([[1e-45, 0.1], [6.20377e-8, 3.4e38]], np.float32)
    codec = Codec(make_entry(outputs=[("y", "float32", (2,))], classes=["a", "b"]))
    (texts,) = codec.answer.texts({"y": values}, [2])
    assert isinstance(texts, tuple) and codec.labels is not None
    plain = codec.answer.body([texts])
    named = codec.answer.body(codec.labels.label([texts]))
    for before, after in ((b'"a":', b""), (b'"b":', b""), (b"{", b"["), (b"}", b"]")):
        named = named.replace(before, after)
    assert named[1:-1] == plain[1:-1]
