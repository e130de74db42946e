"""Calls of a host, the process of a pack, in which several models are: each call carries parts of any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adapter import errors
from adapter.backend.protocol import InferenceBackend
from converter.schema.manifest import ModelEntry
from converter.schema.packs.envelope import Part, read_envelope, write_envelope
from converter.schema.wire import ANSWER_TENSOR, CALL_TENSOR


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
        call = write_envelope(parts, self._key(host))
        array = np.frombuffer(call, np.uint8).reshape(1, -1)
        outputs = await self._backend.infer(host.direct, host, {CALL_TENSOR: array}, deadline)
        try:
            _, answers = read_envelope(memoryview(outputs[ANSWER_TENSOR].tobytes()))
            if len(answers) != len(parts):
                raise ValueError(f"{len(answers)} parts for {len(parts)}")
        except ValueError as error:
            raise errors.BadModelOutput("The model's answer is not what its config promises.", str(error)) from error
        return answers

    def _key(self, host: ModelEntry) -> bytes:
        known = self._keys.get(host.direct)
        if known is None or known[0] is not host:
            known = self._keys[host.direct] = host, self._host_key(host)
        return known[1]
