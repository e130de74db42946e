"""A host in memory: it answers calls with parts of several models, as the runtime inside Triton does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter.backend.protocol import Arrays
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry, Tensor
from converter.schema.packs.envelope import (
    DESCRIBE,
    EVICT,
    FAILED,
    INFER,
    LOAD,
    LOADING,
    OK,
    Part,
    RawTensor,
    read_envelope,
    write_envelope,
)
from converter.schema.wire import ANSWER_TENSOR, CALL_TENSOR

KEY = b"k" * 32
Wire = dict[str, npt.NDArray[Any]]


def wires(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [wire for tensor in tensors for wire in tensor.pack()]


def double(arrays: Wire) -> Wire:
    return {"y": np.asarray(arrays["x"] * 2, np.float32)}


@dataclass
class Mood:
    """How a host treats one model: how long it takes, what it does, and how often it says that it is loading it."""

    seconds: float = 0.0
    answer: Callable[[Wire], Wire] = double
    loading: int = 0


@dataclass
class FakeHost:
    """The handler of a FakeBackend. It has as many calls at a time as there are instances; more wait their turn.

    `calls` are the values of each call's parts, by the model's name, and `began` when they came. `loaded` are the keys
    of models that it was told to load, and not to let go of since. `sizes` are the bytes that models grew it by, and
    `others` those that its other processes have in memory.
    """

    entries: Mapping[str, ModelEntry]
    instances: int = 1
    moods: dict[str, Mood] = field(default_factory=dict)
    # What a call as a whole raises in place of an answer.
    errors: list[Exception] = field(default_factory=list)
    calls: list[dict[str, list[float]]] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)
    held: bool = False
    loaded: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    others: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.instances)
        self._by_key = {entry.member: name for name, entry in self.entries.items()}

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        key, parts = read_envelope(memoryview(arrays[CALL_TENSOR].tobytes()))
        assert key == KEY
        if parts[0].kind != INFER:
            return self._write([self._control(part) for part in parts])
        told = [self._told(part) for part in parts]
        self.calls.append({name: next(iter(wire.values())).ravel().tolist() for name, wire in told})
        self.began.append(asyncio.get_running_loop().time())
        async with self._free:
            if self.held:
                self.gates.append(gate := asyncio.Event())
                await gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            answers = [await self._answer(name, wire) for name, wire in told]
        return self._write(answers)

    def mood(self, name: str) -> Mood:
        return self.moods.setdefault(name, Mood())

    def _write(self, answers: Sequence[Part]) -> Arrays:
        return {ANSWER_TENSOR: np.frombuffer(write_envelope(answers), np.uint8).reshape(1, -1)}

    def _control(self, part: Part) -> Part:
        key = part.text.decode()
        if part.kind == LOAD:
            self.loaded.add(key)
        elif part.kind == EVICT:
            self.loaded.discard(key)
        elif part.kind == DESCRIBE:
            members = {key: {"bytes": self.sizes.get(key, 0)} for key in sorted(self.loaded)}
            others = [{"pid": 2 + i, "members": told} for i, told in enumerate(self.others)]
            return Part(OK, json.dumps({"members": members, "others": others}).encode())
        return Part(OK, b"{}")

    def _told(self, part: Part) -> tuple[str, Wire]:
        name = self._by_key[part.text.decode()]
        given = wires(self.entries[name].inputs)
        assert len(given) == len(part.tensors)
        return name, {
            tensor.name: np.frombuffer(raw.values, dtypes.by_name(tensor.dtype).numpy).reshape(raw.shape)
            for tensor, raw in zip(given, part.tensors, strict=True)
        }

    async def _answer(self, name: str, wire: Wire) -> Part:
        mood = self.mood(name)
        if mood.loading:
            mood.loading -= 1
            return Part(LOADING, b"")
        if mood.seconds:
            await asyncio.sleep(mood.seconds)
        try:
            outputs = mood.answer(wire)
        except Exception as error:
            return Part(FAILED, str(error).encode(), (), 1)
        tensors = [outputs[tensor.name] for tensor in wires(self.entries[name].outputs)]
        raw = [RawTensor(array.shape, array.tobytes()) for array in tensors]
        return Part(OK, b"", raw, max(1, int(mood.seconds * 1e6)))
