"""Whether loaded models answer, found out without disturbing them.

Triton goes on calling a model ready that hangs. What clients ask tells most of it: while answers come, nothing else is
done. Where none has come for a while, a made-up row is sent along, a probe; one that has no answer within a request's
deadline, while nothing else of that model is answered either, is the proof. A model that is slow but goes on is never
taken for one that hangs: its answers push the proof out, and the longer they usually take, the later the probe. What
Triton's own clients are answered is not seen here, and a probe may wait behind their calls, a front's for the batch
before it and then for its own: so Triton is asked whether the model ended any call meanwhile, before it is condemned.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from adapter import errors
from adapter.backend.protocol import Arrays, InferenceBackend
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import ModelEntry
from converter.schema.wire import CANARY_SUFFIX, wake_key_path

_log = logging.getLogger("schwift.adapter")

# After so long without an answer a model that nobody asks is asked by us, and sooner one that is asked. With many
# models it is longer, so that all together ask no more often than this: idle models are to cost next to nothing.
IDLE_SECONDS = 10.0
_A_PROBE_SECONDS = 1.0
LEAST_SECONDS = 2.0
# How much of the longest silence is left for the next one.
_FADES = 0.8
# In deadlines; the proof comes long before, unless others are answered.
_CANARY_DEADLINES = 4
_COUNT_SECONDS = 1.0
# A probe that was answered so soon disturbs nobody: the next one is sent without a look at who else is answered.
_QUICK_SECONDS = 0.1


@dataclass(eq=False)
class _Probe:
    """One of a model's Triton models: the cells that its answers are counted in, and when the last one came.

    `request_id` is that of its probes, and `executions` how many calls it had ended by Triton's count when it was
    asked, or when that was looked at last; None if that is not known. `quick` is whether its last probe was.
    """

    name: str
    cells: tuple[int, ...]
    request_id: str = ""
    count: float = 0.0
    last: float = 0.0
    # The longest silence of late that ended with an answer.
    usual: float = field(default=0.0, init=False)
    task: asyncio.Task[None] | None = field(default=None, init=False)
    asked: float = field(default=0.0, init=False)
    executions: int | None = field(default=None, init=False)
    quick: bool = field(default=False, init=False)

    @property
    def waits(self) -> bool:
        """Whether one was sent that has no answer."""
        return self.task is not None and not self.task.done()


@dataclass(eq=False)
class ModelLiveness:
    """Watches for models that do not answer, and asks those that nobody else asks.

    `_deadline` is a request's, in seconds; `_clock` is that of the running loop, or one beside it. `_canary_id` gives
    the request id at which an entry's front answers by itself; if that is empty, the front's probe is a call of the
    model too.
    """

    _table: SharedTable
    _backend: InferenceBackend
    _deadline: float
    _clock: Callable[[], float]
    _canary_id: Callable[[ModelEntry], str] = lambda entry: ""
    _probes: dict[str, list[_Probe]] = field(default_factory=dict, init=False)
    _watched: dict[str, Model] = field(default_factory=dict, init=False)
    _number: int = field(default=0, init=False)

    def watch(self, model: Model) -> None:
        """Watch a model that is served from now on; nothing changes if it is watched already."""
        entry = model.entry
        if self._watched.get(entry.name) is model:
            return
        self.unwatch(model)
        self._watched[entry.name] = model
        probes = [_Probe(entry.direct, (counters.ANSWERED, counters.FRONT_ANSWERED))]
        if entry.front is not None and _can_vary(entry):
            probes.append(_Probe(entry.front, (counters.FRONT_ANSWERED,), self._canary_id(entry)))
        for probe in probes:
            probe.count, probe.last = self._count(entry, probe), self._clock()
        self._probes[entry.name] = probes

    def unwatch(self, model: Model) -> None:
        """Drop the probes of a model that is not served any more, or is being loaded."""
        self._watched.pop(model.entry.name, None)
        for probe in self._probes.pop(model.entry.name, ()):
            if probe.task is not None:
                probe.task.cancel()

    async def find_hung(self, model: Model) -> list[str]:
        """Return the Triton models of this one that hang; a probe is sent if one is due."""
        now = self._clock()
        asked = counters.total(self._table, model.entry.name, counters.IN_FLIGHT) > 0
        probes = self._probes.get(model.entry.name, ())
        return [probe.name for probe in probes if await self._hangs(model, probe, asked, now)]

    @property
    def _idle_seconds(self) -> float:
        # Asked for each model at each pass: most have two.
        return max(IDLE_SECONDS, _A_PROBE_SECONDS * 2 * len(self._probes))

    async def _hangs(self, model: Model, probe: _Probe, asked: bool, now: float) -> bool:
        """Return whether a Triton model hangs; a probe is sent if one is due."""
        overdue = self._send_or_judge(model, probe, asked, now)
        if probe.waits and probe.asked < now and probe.executions is None:
            # What later looks go by: until now nobody had a reason to count.
            probe.executions = await self._count_executions(probe)
            return overdue and probe.executions is None
        return overdue and not await self._goes_on(probe)

    def _send_or_judge(self, model: Model, probe: _Probe, asked: bool, now: float) -> bool:
        """Return whether a probe should have been answered by now; one is sent if that is due."""
        count = self._count(model.entry, probe)
        if count != probe.count:
            probe.usual = max(now - probe.last if asked else 0.0, _FADES * probe.usual)
            probe.count, probe.last = count, now
        if probe.waits:
            return now - max(probe.asked, probe.last) >= self._deadline
        patience = self._idle_seconds
        if asked:
            patience = min(max(self._deadline, LEAST_SECONDS), LEAST_SECONDS + 2 * probe.usual)
        if now - probe.last >= patience:
            # It is sent in a moment.
            probe.asked = math.inf
            if probe.quick:
                probe.executions = None
            probe.task = asyncio.create_task(self._ask(model, probe, asked), name=f"canary of {probe.name}")
        return False

    async def _goes_on(self, probe: _Probe) -> bool:
        """Return whether a Triton model has ended any call since the last look."""
        count = await self._count_executions(probe)
        if count is None or (probe.executions is not None and count <= probe.executions):
            return False
        probe.executions, probe.last = count, self._clock()
        return True

    async def _count_executions(self, probe: _Probe) -> int | None:
        try:
            return await self._backend.count_executions(probe.name, _COUNT_SECONDS)
        except errors.AdapterError:
            return None

    async def _ask(self, model: Model, probe: _Probe, asked: bool) -> None:
        """Ask a Triton model, unless others were answered since it was asked last, and nobody waits here."""
        entry, incarnation = model.entry, model.incarnation
        if not probe.quick:
            known, probe.executions = probe.executions, await self._count_executions(probe)
            if not asked and known is not None and probe.executions is not None and probe.executions > known:
                probe.last = self._clock()
                return
        probe.asked, probe.quick = self._clock(), False
        try:
            deadline = asyncio.get_running_loop().time() + _CANARY_DEADLINES * self._deadline
            await self._backend.infer(probe.name, entry, self._row(model, probe), deadline, request_id=probe.request_id)
            if probe.executions is not None:
                # That was ours.
                probe.executions += 1
            probe.quick = self._clock() - probe.asked < _QUICK_SECONDS
        except errors.ModelProcessDead:
            model.report_dead(incarnation, "a probe")
            return
        except errors.UpstreamDown:
            return
        except errors.AdapterError as error:
            # Whatever Triton says of the row, somebody answered; with nothing to say, nobody did.
            if not error.inside:
                return
        except Exception:
            # A fault of ours, and no proof of anything.
            _log.exception("the canary of %s failed", probe.name)
        probe.last = self._clock()

    def _row(self, model: Model, probe: _Probe) -> Arrays:
        entry = model.entry
        arrays = model.codec.request.example()
        if probe.name == entry.front and entry.spec.caching:
            # The response cache must not answer in the model's stead.
            self._number += 1
            step = self._number * 1e-3
            return {name: array + step if array.dtype.kind == "f" else array for name, array in arrays.items()}
        return arrays

    def _count(self, entry: ModelEntry, probe: _Probe) -> float:
        return sum(counters.total(self._table, entry.name, cell) for cell in probe.cells)


def _can_vary(entry: ModelEntry) -> bool:
    """Return whether each probe of an entry reaches the model: nothing is cached, or each can be a new row."""
    return not entry.spec.caching or any(tensor.dtype.startswith("float") for tensor in entry.inputs)


def canary_id(repository: Path, entry: ModelEntry) -> str:
    """Return the request id that the front of an entry knows a probe by; empty if there is none, or it cannot be read.

    The front answers such a probe by itself, so that to ask it costs the model nothing; one that does not know the id
    passes the row on, as any other. The id is derived from the secret that the build writes for the front's own
    wake-ups (`runtime/wake.py`), where clients cannot read it.
    """
    if entry.front is None:
        return ""
    try:
        key = (repository / wake_key_path(entry.front, entry.version)).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return key and key + CANARY_SUFFIX
