"""Calls of a host, the process of a pack, in which several models are: each call carries parts of any of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapter import errors
from adapter.backend.protocol import Arrays, InferenceBackend
from converter.schema.manifest import ModelEntry
from converter.schema.packs.envelope import Part, frame_head, read_envelope, write_envelope
from converter.schema.wire import ANSWER_TENSOR, CALL_TENSOR, HOST_KEY_FILE


class HostClient:
    """Call hosts. `host_key` reads the key of one, without which it takes no call."""

    def __init__(self, backend: InferenceBackend, host_key: Callable[[ModelEntry], bytes]) -> None:
        self._backend = backend
        self._host_key = host_key
        self._keys: dict[str, tuple[ModelEntry, bytes]] = {}

    async def call(self, host: ModelEntry, parts: Sequence[Part], deadline: float) -> list[Part]:
        """Make one call of a host, and return the answer's parts in the order of the call's.

        `deadline` is a time of the running loop.

        Raises: AdapterError, which says what became of the call as a whole.
        """
        call = _call_of(write_envelope(parts, self._key(host)))
        return read_answer(await self._backend.infer(host.direct, host, call, deadline), len(parts))

    async def call_written(self, host: ModelEntry, pieces: list[bytes], parts: int, deadline: float) -> list[Part]:
        """Do as `call` with so many parts that are written already, in pieces."""
        return read_answer(await self.send(host, pieces, parts, deadline), parts)

    def send(self, host: ModelEntry, pieces: list[bytes], parts: int, deadline: float) -> Coroutine[Any, Any, Arrays]:
        """Make a call of so many parts that are written already, in pieces, and return what `read_answer` reads."""
        envelope = b"".join([frame_head(parts, self._key(host)), *pieces])
        return self._backend.infer(host.direct, host, _call_of(envelope), deadline)

    def _key(self, host: ModelEntry) -> bytes:
        known = self._keys.get(host.direct)
        if known is None or known[0] is not host:
            known = self._keys[host.direct] = host, self._host_key(host)
        return known[1]


def _call_of(envelope: bytes) -> Arrays:
    return {CALL_TENSOR: np.ndarray((1, len(envelope)), np.uint8, envelope)}


def answer_of(outputs: Arrays) -> bytes:
    """Return the envelope that a host answered with; raise BadModelOutput if there is none."""
    try:
        return outputs[ANSWER_TENSOR].tobytes()
    except KeyError as error:
        raise _wrong(error) from error


def read_answer(outputs: Arrays, parts: int) -> list[Part]:
    """Return the parts of a host's answer to a call of so many; raise BadModelOutput if these are not there."""
    try:
        _, answers = read_envelope(memoryview(answer_of(outputs)))
        if len(answers) != parts:
            raise ValueError(f"{len(answers)} parts for {parts}")
    except ValueError as error:
        raise _wrong(error) from error
    return answers


def _wrong(error: Exception) -> errors.BadModelOutput:
    return errors.BadModelOutput("The model's answer is not what its config promises.", str(error))


def host_key_reader(repository: Path) -> Callable[[ModelEntry], bytes]:
    """Return what reads the key of a host that was built into a repository."""

    def read(host: ModelEntry) -> bytes:
        try:
            return (repository / host.direct / str(host.version) / HOST_KEY_FILE).read_bytes().strip()
        except OSError as error:
            raise errors.ModelUnavailable(errors.UNAVAILABLE, f"no key of its host: {error}") from error

    return read
