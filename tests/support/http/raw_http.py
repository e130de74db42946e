"""HttpInference and a server of Triton's protocol that talk with each other, and tensors for them to talk about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np

from adapter.backend.http_client import HttpInference
from tests.support.fakes.entries import make_entry
from tests.support.fakes.triton_http import FakeTritonHttp, good_answer

T = TypeVar("T")
_X, _TEXT = ("x", "float32", (2,)), ("text", "string", (1,))
_Y, _LABEL = ("y", "float32", (2,)), ("label", "string", (1,))
NUMBERS = make_entry(inputs=[_X], outputs=[_Y])
STRINGS = make_entry(inputs=[_TEXT], outputs=[_LABEL])
BOTH = make_entry(inputs=[_X, _TEXT], outputs=[_Y, _LABEL])
ARRAYS = {"x": np.array([[1, 2], [3, 4]], np.float32), "text": np.array([[b"a"], [b"bc"]], object)}
Y_OUTPUT = ("y", "FP32", ARRAYS["x"] * 2)
LABEL_OUTPUT = ("label", "BYTES", np.array([[b"\xc3\xa9"], [b""]], object))
GOOD = good_answer([Y_OUTPUT, LABEL_OUTPUT])


def talk(
    fake: FakeTritonHttp,
    use: Callable[[HttpInference], Awaitable[T]],
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> T:
    async def main() -> T:
        async with fake.serving() as address:
            backend = HttpInference(address)
            try:
                return await use(backend)
            finally:
                backend.close()
                await asyncio.sleep(0)

    loop = make_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def within(seconds: float) -> float:
    """A deadline of the running loop."""
    return asyncio.get_running_loop().time() + seconds


async def infer(backend: HttpInference, timeout: float = 5.0) -> Any:
    return await backend.infer("m_direct", BOTH, ARRAYS, within(timeout))


async def ask(backend: HttpInference, value: float, timeout: float = 5.0) -> float:
    """One number there and back."""
    outputs = await backend.infer("m_direct", NUMBERS, {"x": np.array([[value, 0]], np.float32)}, within(timeout))
    return float(outputs["y"][0, 0])


def assert_good(outputs: Any) -> None:
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert outputs["label"].tolist() == [[b"\xc3\xa9"], [b""]]
