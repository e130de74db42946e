"""What is asked of hosts besides predictions: to load a model, to let go of one, what they hold; and trial rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

from adapter import errors
from adapter.backend.error_mapping import translate
from adapter.backend.host_client import HostClient
from adapter.backend.host_parts import PartForm
from adapter.backend.protocol import Arrays, InferenceBackend
from converter.schema.manifest import ModelEntry
from converter.schema.packs.envelope import DESCRIBE, EVICT, FAILED, LOAD, LOADING, Part

# Between two looks at a model that is being loaded, at first and at most.
_FIRST_SECONDS, _MOST_SECONDS = 0.01, 0.2
_ASK_SECONDS = 5.0


class HostMemory(NamedTuple):
    """How many bytes the processes of a host, together, have grown by for each model in them, by its key.

    `whole` says whether all of them were asked: a model that is not among these is in none.
    """

    sizes: Mapping[str, int]
    whole: bool


class PackControl:
    """Ask hosts, of which `host_entry` returns the one of a name as it is served now; None if there is none."""

    def __init__(
        self, backend: InferenceBackend, client: HostClient, host_entry: Callable[[str], ModelEntry | None]
    ) -> None:
        self._backend = backend
        self._client = client
        self._host_entry = host_entry

    def has_host(self, entry: ModelEntry) -> bool:
        """Return whether the host of a packed model is served."""
        return entry.host is not None and self._host_entry(entry.host) is not None

    async def load(self, entry: ModelEntry, timeout: float) -> None:
        """Have a packed model loaded within `timeout` seconds.

        Raises: ModelUnavailable with the host's reason in `inside`; UpstreamDown, ModelProcessDead.
        """
        part = Part(LOAD, entry.member.encode())
        try:
            answer = await self._ask(entry, part, asyncio.get_running_loop().time() + timeout)
        except errors.DeadlineExceeded as error:
            raise errors.ModelUnavailable(errors.UNAVAILABLE, f"loading took over {timeout:g} s") from error
        if answer.kind == FAILED:
            raise errors.ModelUnavailable(errors.UNAVAILABLE, answer.text.decode())

    async def evict(self, entry: ModelEntry) -> None:
        """Have all processes of a host let go of a model; if none answers, they go on holding it."""
        deadline = asyncio.get_running_loop().time() + _ASK_SECONDS
        try:
            await self._ask(entry, Part(EVICT, entry.member.encode()), deadline)
        except errors.AdapterError:
            return

    async def describe(self, host: ModelEntry) -> HostMemory:
        """Ask what the processes of a host hold: one of them answers for all."""
        deadline = asyncio.get_running_loop().time() + _ASK_SECONDS
        [answer] = await self._client.call(host, [Part(DESCRIBE, b"")], deadline)
        told = orjson.loads(answer.text)
        sizes = Counter({key: said["bytes"] for key, said in told["members"].items()})
        # A host on the runtime of an older build does not tell of the others.
        others = told.get("others", ())
        for other in others:
            sizes.update(other["members"])
        processes, instances = 1 + len(others), host.spec.instances
        # A reload has those before beside its own for a while; and some do not know of each other.
        held = {key: size * instances // processes for key, size in sizes.items()}
        return HostMemory(held, processes >= instances)

    async def infer(self, model: str, entry: ModelEntry, arrays: Arrays, deadline: float) -> Arrays:
        """Make one call for a trial, as InferenceBackend does; the direct model of a packed one is in its host."""
        if entry.host is None or model != entry.direct:
            return await self._backend.infer(model, entry, arrays, deadline)
        form = PartForm(entry)
        host = self._find(entry)
        while True:
            [answer] = await self._client.call_written(host, form.write(arrays), 1, deadline)
            if answer.kind == FAILED:
                raise translate(None, answer.text.decode())
            if answer.kind != LOADING:
                break
            await asyncio.sleep(_FIRST_SECONDS)
        try:
            return form.read(answer)
        except ValueError as error:
            raise errors.BadModelOutput("The model's answer is not what its config promises.", str(error)) from error

    async def _ask(self, entry: ModelEntry, part: Part, deadline: float) -> Part:
        """Return the answer to a part, once the model is there."""
        pause = _FIRST_SECONDS
        while True:
            [answer] = await self._client.call(self._find(entry), [part], deadline)
            if answer.kind != LOADING:
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MOST_SECONDS)

    def _find(self, entry: ModelEntry) -> ModelEntry:
        host = None if entry.host is None else self._host_entry(entry.host)
        if host is None:
            raise errors.ModelUnavailable(errors.UNAVAILABLE, f"its pack {entry.host} is not served")
        return host
