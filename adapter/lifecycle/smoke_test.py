"""Try a model that nobody uses yet: made-up rows through each of its Triton models, and the answer's form is checked.

The rows are valid in form, but not in meaning: a model may raise on them and be well. So an error of the model's code
counts only if the version that is served takes the same rows and does not raise.
"""

from __future__ import annotations

import asyncio
import logging

from adapter import errors
from adapter.backend.protocol import InferenceBackend
from adapter.codec.codec import Codec
from converter.schema.manifest import ModelEntry
from converter.schema.wire import error_mark

_log = logging.getLogger("schwift.adapter")


async def check(backend: InferenceBackend, entry: ModelEntry, served: ModelEntry | None, timeout: float) -> str | None:
    """Ask each Triton model of an entry a made-up row or two; return a warning for the user, or None.

    `served` is what it would take the place of; `timeout` is for each call, in seconds.

    Raises: ReloadFailed if the model is not fit to be served.
    """
    try:
        for name in entry.triton_models:
            await _ask(backend, entry, name, timeout)
    except errors.ModelFailed as error:
        _log.warning("model %s raised on a made-up row: %s", entry.name, error.inside)
        if served is not None and served.inputs == entry.inputs and await _answers(backend, served, timeout):
            raise errors.ReloadFailed(
                "the new version raises an error on a row that the served one answers: the server's log has the details"
            ) from error
        return "it raised an error on a made-up row, and nothing says that it should not"
    except errors.AdapterError as error:
        _log.error("model %s failed its trial: %s %s", entry.name, error.detail, error.inside)
        raise errors.ReloadFailed(_reason(error)) from error
    return None


async def _ask(backend: InferenceBackend, entry: ModelEntry, triton_model: str, timeout: float) -> None:
    """Call with as many rows as show that they are kept apart, and check the answer's shapes; raise AdapterError."""
    rows = 1 if triton_model == entry.front else min(2, entry.direct_max_rows)
    codec = Codec(entry)
    arrays = codec.request.example(rows)
    deadline = asyncio.get_running_loop().time() + timeout
    outputs = await backend.infer(triton_model, entry.inputs, arrays, entry.outputs, deadline)
    codec.answer.check_shapes(outputs, rows)


async def _answers(backend: InferenceBackend, entry: ModelEntry, timeout: float) -> bool:
    try:
        await _ask(backend, entry, entry.direct, timeout)
    except errors.AdapterError:
        return False
    return True


def _reason(error: errors.AdapterError) -> str:
    if isinstance(error, errors.BadModelOutput):
        text = error.inside.removeprefix(error_mark("bad_model_output")).strip()
        return f"the new version's answer is not what its config promises: {text}"
    if isinstance(error, errors.DeadlineExceeded):
        return "the new version did not answer a made-up row in time"
    if isinstance(error, errors.ModelProcessDead):
        return "the new version's process died on a made-up row"
    return f"the new version could not be asked: {error.detail}"
