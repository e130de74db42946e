"""Arrays of joblib's that another reader takes for longer or shorter than joblib does: the rest is its program."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.attacks.pickle_opcodes import called, named, push, whole


def _array(state: bytes, behind: bytes) -> bytes:
    return whole(b"]" + named("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81" + state + b"b" + behind + b"a")


def arrays(canary: Path) -> dict[str, bytes]:
    """Arrays of joblib's that another reader takes for longer or shorter than joblib does: the rest is its program."""
    dtype = (
        named("numpy", "dtype") + push(("u1", False, True)) + b"R" + push((3, "|", None, None, None, -1, -1, 0)) + b"b"
    )
    objects = (
        named("numpy", "dtype") + push(("O8", False, True)) + b"R" + push((3, "|", None, None, None, -1, -1, 63)) + b"b"
    )
    payload = called("os", "system", f"touch {canary}") + b"."

    def state_of(**changed: bytes) -> bytes:
        items = {
            "subclass": named("numpy", "ndarray"),
            "shape": push((4,)),
            "order": push("C"),
            "dtype": dtype,
            "allow_mmap": b"\x89",
            **changed,
        }
        return b"}" + b"".join(push(key) + value + b"s" for key, value in items.items())

    by_another = (
        named("sklearn.neighbors._kd_tree", "newObj") + named("joblib.numpy_pickle", "NumpyArrayWrapper") + b"\x85R"
    )
    huge = struct.pack("<I", 1 << 31)
    return {
        "shape_of_a_call": _array(state_of(shape=called("builtins", "tuple", [64])), payload),
        "shape_of_a_list": _array(state_of(shape=push([64])), payload),
        "negative_shape": _array(state_of(shape=push((-1,))), payload),
        "shape_of_booleans": _array(state_of(shape=push((True,))), payload),
        "order_of_none": _array(state_of(order=push("K")), payload),
        "mapped_objects": _array(state_of(dtype=objects, allow_mmap=b"\x88"), payload),
        "built_twice": whole(
            named("joblib.numpy_pickle", "NumpyArrayWrapper")
            + b")\x81q\x01"
            + state_of()
            + b"babcd0h\x01"
            + state_of()
            + b"b"
            + payload
        ),
        "class_of_the_array": _array(state_of(subclass=named("os", "system")), payload),
        "key_that_is_equal": _array(
            state_of() + called("numpy.core.multiarray", "scalar", 1) + push((64,)) + b"s", payload
        ),
        "wrapper_by_a_call": whole(named("joblib.numpy_pickle", "NumpyArrayWrapper") + push((1,)) + b"R"),
        "wrapper_by_another": whole(b"]" + by_another + state_of(shape=push((-4,))) + b"b" + payload),
        "overflowing_shape": _array(state_of(shape=push((1 << 32, 1 << 32))), payload),
        "array_in_an_array_of_objects": _array(state_of(dtype=objects), _array(state_of(), payload)),
        "cut_short": b"\x80\x04B" + huge + b"x",
        "alignment_by_a_call": _array(state_of(numpy_array_alignment_bytes=called("builtins", "int", "16")), payload),
        "memmap_kept": whole(
            named("sklearn.base", "BaseEstimator")
            + b")\x81"
            + b"}"
            + push("subclass")
            + named("numpy", "memmap")
            + b"sb"
        ),
    }
