"""Calls of a host, the process of a pack, in which several models are: each call carries parts of any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adapter import errors
from adapter.backend.protocol import InferenceBackend
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
        return await self._exchange(host, write_envelope(parts, self._key(host)), len(parts), deadline)

    async def call_written(self, host: ModelEntry, pieces: list[bytes], parts: int, deadline: float) -> list[Part]:
        """Do as `call` with so many parts that are written already, in pieces."""
        call = b"".join([frame_head(parts, self._key(host)), *pieces])
        return await self._exchange(host, call, parts, deadline)

    async def _exchange(self, host: ModelEntry, call: bytes, parts: int, deadline: float) -> list[Part]:
        array = np.frombuffer(call, np.uint8).reshape(1, -1)
        outputs = await self._backend.infer(host.direct, host, {CALL_TENSOR: array}, deadline)
        try:
            _, answers = read_envelope(outputs[ANSWER_TENSOR].data.cast("B"))
            if len(answers) != parts:
                raise ValueError(f"{len(answers)} parts for {parts}")
        except (ValueError, KeyError, TypeError) as error:
            raise errors.BadModelOutput("The model's answer is not what its config promises.", str(error)) from error
        return answers

    def _key(self, host: ModelEntry) -> bytes:
        known = self._keys.get(host.direct)
        if known is None or known[0] is not host:
            known = self._keys[host.direct] = host, self._host_key(host)
        return known[1]


def host_key_reader(repository: Path) -> Callable[[ModelEntry], bytes]:
    """Return what reads the key of a host that was built into a repository."""

    def read(host: ModelEntry) -> bytes:
        try:
            return (repository / host.direct / str(host.version) / HOST_KEY_FILE).read_bytes().strip()
        except OSError as error:
            raise errors.ModelUnavailable(errors.UNAVAILABLE, f"no key of its host: {error}") from error

    return read
