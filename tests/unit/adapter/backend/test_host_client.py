"""Calls of a host: what is written into one, and what is made of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adapter import errors
from adapter.backend.host_client import HostClient, host_key_reader
from adapter.backend.host_parts import PartForm
from adapter.backend.protocol import Arrays
from converter.schema.manifest import ModelEntry, Tensor
from converter.schema.packs.envelope import DESCRIBE, INFER, LOAD, OK, Part, RawTensor, read_envelope, write_envelope
from converter.schema.wire import ANSWER_TENSOR, CALL_TENSOR, HOST_KEY_FILE
from tests.support.fakes.backend import FakeBackend
from tests.support.packs import make_host_entry, make_member

KEY = b"0123456789abcdef" * 2


class Answering:
    """Answers each call with these bytes, or else with its own parts, and notes what it was sent."""

    def __init__(self, raw: bytes | None = None) -> None:
        self.raw = raw
        self.sent: list[tuple[bytes, list[Part]]] = []

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        assert arrays[CALL_TENSOR].shape[0] == 1
        call = arrays[CALL_TENSOR].tobytes()
        self.sent.append(read_envelope(memoryview(call)))
        raw = call if self.raw is None else self.raw
        return {ANSWER_TENSOR: np.frombuffer(raw, np.uint8).reshape(1, -1)}


def client_of(answering: Answering, keys: list[str] | None = None) -> HostClient:
    def read(host: ModelEntry) -> bytes:
        if keys is not None:
            keys.append(f"{host.direct}/{host.version}")
        return KEY

    return HostClient(FakeBackend(answering), read)


async def test_a_call_carries_the_key_and_its_parts_and_so_does_the_answer() -> None:
    answering = Answering()
    keys: list[str] = []
    client = client_of(answering, keys)
    host = make_host_entry()
    parts = [Part(LOAD, b"a_alone/1"), Part(DESCRIBE, b"")]
    for _ in range(2):
        answers = await client.call(host, parts, asyncio.get_running_loop().time() + 5)
    assert [(answer.kind, answer.text) for answer in answers] == [(LOAD, b"a_alone/1"), (DESCRIBE, b"")]
    assert [key for key, _ in answering.sent] == [KEY, KEY]
    await client.call(host.model_copy(update={"version": 2}), parts, asyncio.get_running_loop().time() + 5)
    # Read once for each host that is served.
    assert keys == [f"{host.direct}/1", f"{host.direct}/2"]


@pytest.mark.parametrize(
    "raw", [b"", b"no", write_envelope([]), write_envelope([Part(OK, b"")] * 2), write_envelope([Part(OK, b"")])[:-4]]
)
async def test_an_answer_that_is_no_envelope_of_as_many_parts_is_a_bad_one(raw: bytes) -> None:
    client = client_of(Answering(raw))
    with pytest.raises(errors.BadModelOutput):
        await client.call(make_host_entry(), [Part(DESCRIBE, b"")], asyncio.get_running_loop().time() + 5)


async def test_what_a_model_writes_is_an_envelopes_part() -> None:
    """The model has several tensors, strings among them, however often a shape came before."""
    entry = make_member("a", inputs=[("x", "float32", (3,)), ("n", "uint8", ()), ("t", "string", (1,))])
    form = PartForm(entry)
    answering = Answering()
    client = client_of(answering)
    for rows in (1, 2, 1):
        arrays: dict[str, npt.NDArray[Any]] = {
            "x": np.arange(rows * 3, dtype=np.float32).reshape(rows, 3),
            "n": np.full((rows, 1), 7, np.uint8),
            "t": np.array([[b"Bern"]] * rows, object),
        }
        pieces = form.write(arrays)
        await client.send(make_host_entry(), [*pieces, *pieces], 2, asyncio.get_running_loop().time() + 5)
        key, parts = answering.sent[-1]
        tensors = [RawTensor(shape, bytes(values)) for shape, values in parts[1].tensors]
        lengths = np.full((rows, 1), 4, np.int32)
        assert tensors == [
            RawTensor((rows, 3), arrays["x"].tobytes()),
            RawTensor((rows, 1), b"\x07" * rows),
            RawTensor((rows, 4), b"Bern" * rows),
            RawTensor((rows, 1), lengths.tobytes()),
        ]
        assert (key, parts[1].kind, parts[1].text) == (KEY, INFER, b"a_alone/1")
        written = write_envelope([Part(INFER, b"a_alone/1", tensors)])
        assert written[40:] == b"".join(pieces)


def test_what_a_model_answers_is_read_by_its_outputs() -> None:
    form = PartForm(make_member("a", outputs=[("y", "float32", (2,)), ("t", "string", (1,))]))
    values = np.array([[1, 2]], np.float32)
    tensors = [RawTensor((1, 2), values.tobytes()), RawTensor((1, 2), b"ab"), RawTensor((1, 1), b"\2\0\0\0")]
    outputs = form.read(Part(OK, b"", tensors))
    assert {name: array.tolist() for name, array in outputs.items()} == {"y": [[1.0, 2.0]], "t": [[b"ab"]]}
    too_wide, too_long = RawTensor((1, 3), values.tobytes()), RawTensor((1, 1), b"\3\0\0\0")
    for wrong in (tensors[:2], [too_wide, *tensors[1:]], [*tensors[:2], too_long]):
        with pytest.raises(ValueError):
            form.read(Part(OK, b"", wrong))


def test_the_key_of_a_host_is_in_its_version_folder(tmp_path: Path) -> None:
    host = make_host_entry()
    read = host_key_reader(tmp_path)
    with pytest.raises(errors.ModelUnavailable):
        read(host)
    folder = tmp_path / host.direct / "1"
    folder.mkdir(parents=True)
    (folder / HOST_KEY_FILE).write_bytes(KEY + b"\n")
    assert read(host) == KEY
