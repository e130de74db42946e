"""The answer of a joined call, cut between its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.codec.encode import PredictionsWriter, Texts
from adapter.errors import BadModelOutput
from converter.schema import dtypes
from tests.support.fakes.entries import TensorLike, make_entry

Array = npt.NDArray[Any]
# What JSON is made of, so that a cut at the wrong place would show.
SIGNS = st.text(st.sampled_from('[]{},:"\\ \n1aé\U0001f600'), max_size=6)
NAN = "the answer has NaN or Infinity"
NOT_UTF8 = "a string is not UTF-8"


def writer_of(*outputs: TensorLike, **spec: Any) -> PredictionsWriter:
    return PredictionsWriter(make_entry(outputs=outputs, **spec))


def parts_of(array: Array, counts: Sequence[int]) -> list[Array]:
    ends = np.cumsum(counts)
    return [array[end - count : end] for end, count in zip(ends, counts, strict=True)]


def alone(writer: PredictionsWriter, outputs: Mapping[str, Array], counts: Sequence[int]) -> list[Texts]:
    """Each request's texts as if nobody else had been in the call."""
    cut = {name: parts_of(array, counts) for name, array in outputs.items()}
    results = []
    for i, count in enumerate(counts):
        (texts,) = writer.texts({name: parts[i] for name, parts in cut.items()}, [count])
        assert isinstance(texts, tuple)
        results.append(texts)
    return results


def inside(results: Sequence[Texts | BadModelOutput]) -> list[Any]:
    """Rows, and in the place of an error what it says for the log."""
    return [
        result.inside if isinstance(result, BadModelOutput) else [orjson.loads(b"[" + text + b"]") for text in result]
        for result in results
    ]


@st.composite
def outputs_of_a_call(draw: st.DrawFn) -> tuple[TensorLike, Array, list[int]]:
    """Any numbers or texts of rank 1 to 3, and how many rows of them each request had."""
    # Both ways: few rows a request, cut out of one text, and many, whose text each has for itself.
    few, many = st.integers(1, 4), st.integers(10, 40)
    counts = draw(st.lists(few, min_size=1, max_size=5) | st.lists(many, min_size=1, max_size=3))
    dtype = draw(st.sampled_from(dtypes.DTYPES))
    dims = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    shape = (sum(counts), *dims)
    if dtype.json == "string":
        size = int(np.prod(shape))
        array = np.empty(size, object)
        array[:] = [text.encode() for text in draw(st.lists(SIGNS, min_size=size, max_size=size))]
        return ("y", dtype.name, dims), array.reshape(shape), counts
    elements = arrays_of.from_dtype(np.dtype(dtype.numpy)).filter(np.isfinite)
    return ("y", dtype.name, dims), draw(arrays_of.arrays(dtype.numpy, shape, elements=elements)), counts


@settings(deadline=None, max_examples=200)
@given(call=outputs_of_a_call())
def test_a_joined_answer_is_cut_exactly_as_each_request_alone_would_be(
    call: tuple[TensorLike, Array, list[int]],
) -> None:
    like, array, counts = call
    writer = writer_of(like)
    results = writer.texts({"y": array}, counts)
    assert results == alone(writer, {"y": array}, counts)
    # And these are its own rows.
    for (text,), part in zip(alone(writer, {"y": array}, counts), parts_of(array, counts), strict=True):
        rows = orjson.loads(b"[" + text + b"]")
        if array.dtype == np.object_:
            assert rows == np.vectorize(bytes.decode, otypes=[object])(part).tolist()
        else:
            assert np.array(rows, array.dtype).tobytes() == part.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "string"])
@pytest.mark.parametrize(
    ("dims", "shape"),
    [((-1,), (0,)), ((2, -1), (2, 0)), ((-1, 4), (0, 4)), ((-1, 2, 2), (0, 2, 2)), ((2, -1, 2), (2, 0, 2))],
)
def test_rows_with_nothing_in_them_are_cut_too(dtype: str, dims: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """A free axis may be of size 0, as where a detector finds nothing in any picture of a call."""
    array = np.zeros((6, *shape), dtypes.by_name(dtype).numpy)
    writer = writer_of(("y", dtype, dims))
    writer.check_shapes({"y": array}, 6)
    row = array[0].tolist()
    assert inside(writer.texts({"y": array}, [1, 3, 2])) == [[[row]], [[row] * 3], [[row] * 2]]


def test_an_array_that_is_not_contiguous_is_cut_by_rows() -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.float64).reshape(4, 3))[:, ::-1]
    results = writer_of(("y", "float64", (3,))).texts({"y": array}, [1, 3])
    assert inside(results) == [[[[2, 1, 0]]], [[[5, 4, 3], [8, 7, 6], [11, 10, 9]]]]


TWO: tuple[TensorLike, TensorLike] = (("label", "string", (1,)), ("score", "float32", (2,)))


def two_outputs() -> dict[str, Array]:
    labels = np.array([[b"a"], [b'],["'], [b"\xc3\xa9"], [b""]], object)
    return {"score": np.arange(8, dtype=np.float32).reshape(4, 2), "label": labels}


def test_several_outputs_stay_together_in_the_configs_order() -> None:
    writer = writer_of(*TWO)
    results = writer.texts(two_outputs(), [1, 2, 1])
    assert inside(results) == [
        [[["a"]], [[0, 1]]],
        [[['],["'], ["é"]], [[2, 3], [4, 5]]],
        [[[""]], [[6, 7]]],
    ]
    assert results == alone(writer, two_outputs(), [1, 2, 1])


def test_a_body_has_the_rows_of_all_its_parts_in_order() -> None:
    writer = writer_of(*TWO)
    first, second, third = alone(writer, two_outputs(), [1, 2, 1])
    assert writer.body([second]) == (
        b'{"model":"m","predictions":{"label":[["],[\\""],["\xc3\xa9"]],"score":[[2.0,3.0],[4.0,5.0]]}}'
    )
    assert writer.body([first, second, third]) == writer.body(alone(writer, two_outputs(), [4]))
    assert orjson.loads(writer.body([third, first]))["predictions"] == {
        "label": [[""], ["a"]], "score": [[6, 7], [0, 1]],
    }  # fmt: skip


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_row_that_is_not_finite_fails_its_own_request_only(dtype: str, number: float) -> None:
    array = np.arange(12).astype(dtype).reshape(6, 2)
    array[2, 1] = number
    writer = writer_of(("y", dtype, (2,)))
    results = writer.texts({"y": array}, [1, 3, 1, 1])
    assert inside(results) == [[[[0, 1]]], NAN, [[[8, 9]]], [[[10, 11]]]]
    assert [isinstance(result, BadModelOutput) for result in results] == [False, True, False, False]


def test_a_row_among_many_that_is_not_finite_fails_its_own_request_only() -> None:
    array = np.arange(100, dtype=np.float32).reshape(100, 1)
    array[70] = np.nan
    first, second, third = inside(writer_of(("y", "float32", (1,))).texts({"y": array}, [20, 60, 20]))
    assert (first, second, third) == ([array[:20].tolist()], NAN, [array[80:].tolist()])


def test_a_row_that_is_not_finite_in_any_output_fails_its_request() -> None:
    outputs = two_outputs()
    outputs["score"][0, 1] = np.nan
    outputs["score"][3, 0] = np.inf
    assert inside(writer_of(*TWO).texts(outputs, [1, 2, 1])) == [NAN, [[['],["'], ["é"]], [[2, 3], [4, 5]]], NAN]


def test_with_non_finite_null_nobody_fails() -> None:
    array = np.array([[1, np.nan], [np.inf, 2], [3, 4]], np.float32)
    results = writer_of(("y", "float32", (2,)), non_finite=None).texts({"y": array}, [1, 1, 1])
    assert inside(results) == [[[[1, None]]], [[[None, 2]]], [[[3, 4]]]]


def test_the_text_null_is_not_a_number_that_is_missing() -> None:
    array = np.array([[b"null"], [b"NaN"]], object)
    assert inside(writer_of(("y", "string", (1,))).texts({"y": array}, [1, 1])) == [[[["null"]]], [[["NaN"]]]]


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_a_string_that_is_not_utf8_fails_its_own_request_only(raw: bytes) -> None:
    outputs = two_outputs()
    outputs["label"][2, 0] = raw
    assert inside(writer_of(*TWO).texts(outputs, [1, 2, 1])) == [[[["a"]], [[0, 1]]], NOT_UTF8, [[[""]], [[6, 7]]]]


def test_each_guilty_request_is_told_its_own_fault() -> None:
    outputs = two_outputs()
    outputs["label"][0, 0] = b"\xff"
    outputs["score"][3, 0] = np.nan
    assert inside(writer_of(*TWO).texts(outputs, [1, 2, 1])) == [NOT_UTF8, [[['],["'], ["é"]], [[2, 3], [4, 5]]], NAN]
