"""Names of functions and classes in generated code: plain where they can be, and never two alike."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.http.openapi.operation_names import class_name, name_models
from adapter.http.openapi.value_schemas import squash


@pytest.mark.parametrize(
    ("name", "plain", "of_class"),
    [
        ("iris_onnx", "iris_onnx", "IrisOnnx"),
        ("RF-10", "rf_10", "Rf10"),
        ("a.b..c__d-", "a_b_c_d", "ABCD"),
        ("9lives", "9lives", "9lives"),
        ("class", "class", "Class"),
        ("batched_x", "batched_x", "BatchedX"),
    ],
)
def test_a_name_that_no_other_is_like_is_plain(name: str, plain: str, of_class: str) -> None:
    assert name_models([name, "other"])[name] == plain
    assert class_name(plain) == of_class


def test_names_that_code_could_not_tell_apart_get_a_checksum_each() -> None:
    found = name_models(["v_1_1", "v_11", "V-11", "w"])
    assert found["w"] == "w"
    assert all(re.fullmatch("v_1_?1_[0-9a-f]{8}", found[name]) for name in ("v_1_1", "v_11", "V-11"))
    # Whatever else there is.
    assert name_models(["V-11", "v_11"])["V-11"] == found["V-11"]


def test_an_operation_of_one_endpoint_is_none_of_the_other() -> None:
    found = name_models(["batched", "batched_x", "x", "batchedy"])
    assert found["x"] == "x" and found["batchedy"] == "batchedy"
    assert re.fullmatch("batched_[0-9a-f]{8}", found["batched"])
    assert re.fullmatch("batched_x_[0-9a-f]{8}", found["batched_x"])


def test_nobody_takes_a_name_with_a_checksum_by_making_it_up() -> None:
    taken = name_models(["a_b", "a.b"])["a.b"]
    assert_apart(["a_b", "a.b", taken, f"batched_{taken}", f"{taken}_x"])


_NAMES = st.from_regex(r"[A-Za-z0-9](batched|[ABab01._-]){0,6}", fullmatch=True)


@given(st.sets(_NAMES, max_size=12))
def test_no_two_are_alike_whatever_the_models_are_called(names: set[str]) -> None:
    assert_apart(sorted(names))


def assert_apart(names: list[str]) -> None:
    found = name_models(names)
    assert set(found) == set(names)
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", plain) for plain in found.values())
    functions = [
        "predict", "predict_batched",
        *(f"{endpoint}_{plain}" for endpoint in ("predict", "predict_batched") for plain in found.values()),
    ]  # fmt: skip
    ends = ("Answer", "Labelled", "Labels", "Record")
    classes = [f"{class_name(plain)}{end}" for plain, end in itertools.product(found.values(), ends)]
    for made in (functions, classes):
        assert len({squash(name) for name in made}) == len(made)
