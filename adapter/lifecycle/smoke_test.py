"""Ask a model that was just loaded made-up rows, through each of its Triton models, and check the answers' form.

If it has a sample, whose answers are known, its rows are asked in their place (sample_replay.py).

It is the model's warm-up too. The rows are valid in form, but not in meaning: a model may raise on them and be well. So
an error of the model's code counts only if no row could help it (a library of another version, a model that is not
fitted), or, for a new version, if the version that is served takes the same rows and does not raise.
"""

from __future__ import annotations

import asyncio
import logging

from adapter import errors
from adapter.backend.error_mapping import raised_in, unfit_reason
from adapter.codec.codec import Codec
from adapter.lifecycle.packs.pack_control import PackControl
from adapter.lifecycle.sample_replay import SampleReplay
from converter.schema.manifest import ModelEntry
from converter.schema.wire import error_mark

_log = logging.getLogger("schwift.adapter")


class SmokeTest:
    """Asks made-up rows, unless a model's config says `warmup: false`, and replays the sample if there is one.

    `timeout` is for each call, in seconds.
    """

    def __init__(self, packs: PackControl, timeout: float, replay: SampleReplay) -> None:
        self.packs = packs
        self._replay = replay
        self._timeout = timeout

    async def check_model(self, entry: ModelEntry) -> str | None:
        """Return a note for the user on a model that can be served; None if it answered as it should.

        Raises: SmokeTestFailed if it cannot be served; ModelProcessDead, UpstreamDown or ModelUnavailable if that is
        not known, as its process died or it could not be asked.
        """
        try:
            await self._ask_all(entry)
        except (errors.ModelProcessDead, errors.UpstreamDown, errors.ModelUnavailable):
            raise
        except errors.BadModelOutput as error:
            raise _failed(entry, error, "the model") from error
        except errors.ModelFailed as error:
            return _note(entry, error, "the model")
        except errors.AdapterError as error:
            _log.warning("model %s was not tried: %s %s", entry.name, error.detail, error.inside)
            return "it did not answer a made-up row, or its sample, in time"
        return None

    async def check_version(self, entry: ModelEntry, served: ModelEntry | None) -> str | None:
        """Return a note for the user on a new version; None if it answered as it should.

        `served` is what it would take the place of.

        Raises: SmokeTestFailed if the new version is not fit to be served.
        """
        try:
            await self._ask_all(entry)
        except errors.ModelFailed as error:
            note = _note(entry, error, "the new version")
            if served is not None and _take_the_same(served, entry) and await self._answers(served):
                raise errors.SmokeTestFailed(
                    "the new version raises an error on a row that the served one answers: "
                    "the server's log has the details"
                ) from error
            return note
        except errors.AdapterError as error:
            raise _failed(entry, error, "the new version") from error
        return None

    async def _ask_all(self, entry: ModelEntry) -> None:
        # Rows that mean something tell more, and a model may raise on those that mean nothing.
        if not await self._replay.replay(entry) and entry.spec.warmup:
            # Nobody reaches the ensembles of a packed model that has none.
            for name in entry.triton_models or (entry.direct,):
                await self._ask(entry, name)

    async def _ask(self, entry: ModelEntry, triton_model: str) -> None:
        """Make one call, with as many rows as show that rows are kept apart, and check the answer's shapes.

        Raises: AdapterError, which says what went wrong with the call or its answer.
        """
        rows = 1 if triton_model == entry.front else min(2, entry.direct_max_rows)
        codec = Codec(entry)
        arrays = codec.request.example(rows)
        deadline = asyncio.get_running_loop().time() + self._timeout
        outputs = await self.packs.infer(triton_model, entry, arrays, deadline)
        codec.answer.check_shapes(outputs, rows)

    async def _answers(self, entry: ModelEntry) -> bool:
        try:
            await self._ask(entry, entry.direct)
        except errors.AdapterError:
            return False
        return True


def _take_the_same(served: ModelEntry, entry: ModelEntry) -> bool:
    return (served.inputs, served.columns) == (entry.inputs, entry.columns)


def _note(entry: ModelEntry, error: errors.ModelFailed, who: str) -> str:
    """Return the note on a model that raised; raise SmokeTestFailed if no row could help it."""
    if error.unfit:
        raise _failed(entry, error, who) from error
    _log.warning("model %s raised on a made-up row: %s", entry.name, error.inside)
    return f"it raised {raised_in(error.inside)} on a made-up row, and nothing says that it should not"


def _failed(entry: ModelEntry, error: errors.AdapterError, who: str) -> errors.SmokeTestFailed:
    _log.error("model %s failed its smoke test: %s %s", entry.name, error.detail, error.inside)
    if isinstance(error, errors.ModelFailed):
        return errors.SmokeTestFailed(f"{who} cannot answer: {unfit_reason(error.inside)}")
    if isinstance(error, errors.BadModelOutput):
        text = error.inside.removeprefix(error_mark("bad_model_output")).strip()
        return errors.SmokeTestFailed(f"{who}'s answer is not what its config promises: {text}")
    if isinstance(error, errors.DeadlineExceeded):
        return errors.SmokeTestFailed(f"{who} did not answer a made-up row in time")
    if isinstance(error, errors.ModelProcessDead):
        return errors.SmokeTestFailed(f"{who}'s process died on a made-up row (`warmup: false` sends none)")
    return errors.SmokeTestFailed(f"{who} could not be asked: {error.detail}")
