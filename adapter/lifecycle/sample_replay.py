"""Send a model that was just loaded the rows of its sample, and compare the answers with the original's own.

A file that was swapped, a library of another version, columns in another order: each gives answers that look right, and
this is how they are found on the day that they are loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from adapter import errors
from adapter.backend.error_mapping import raised_in, unfit_reason
from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.lifecycle.packs.pack_control import PackControl
from converter.schema.manifest import ModelEntry
from converter.schema.model import VerifySpec
from converter.schema.samples.compare import compare_rows, default_tolerance
from converter.schema.samples.sample_file import SAMPLE_NAME, BadSample, read_sample

_log = logging.getLogger("schwift.adapter")


class SampleReplay:
    """Replays the samples of a repository's models; `timeout` is for each call, in seconds."""

    def __init__(self, packs: PackControl, repository: Path, timeout: float) -> None:
        self._packs = packs
        self._repository = repository
        self._timeout = timeout

    async def replay(self, entry: ModelEntry) -> bool:
        """Ask for the sample's rows, in as few calls as they fit in, and once more the first one through the front.

        Return whether there was a sample to ask for.

        Raises: SmokeTestFailed if an answer is not the original's, or if the sample does not fit the config;
        AdapterError if the model could not be asked.
        """
        if entry.sample is None or entry.spec.verify is False:
            return False
        path = self._repository / entry.files / str(entry.version) / entry.sample
        try:
            sample = await asyncio.to_thread(read_sample, path)
        except (OSError, BadSample) as error:
            raise errors.SmokeTestFailed(f"{SAMPLE_NAME} cannot be read: build it again") from error
        if sample is None:
            return False
        codec = Codec(entry)
        try:
            features = codec.request.parse(orjson.dumps({"features": sample.features}))
        except errors.BadRequest as error:
            raise errors.SmokeTestFailed(f"{SAMPLE_NAME} does not fit the model's config: {error.detail}") from error
        served = await self._ask(entry, entry.direct, codec, features, entry.direct_max_rows)
        _compare(entry, served, sample.predictions)
        if entry.front in entry.triton_models:
            first = tuple(part[:1] for part in features)
            _compare(entry, await self._ask(entry, entry.front, codec, first, 1), sample.predictions, rows=1)
        return True

    async def _ask(
        self, entry: ModelEntry, triton_model: str, codec: Codec, features: Features, most: int
    ) -> list[list[Any]]:
        """Return the answers to all rows, of each output, as JSON has them."""
        answers: list[list[Any]] = [[] for _ in entry.outputs]
        for start in range(0, len(features[0]), most):
            part = tuple(rows[start : start + most] for rows in features)
            deadline = asyncio.get_running_loop().time() + self._timeout
            count = len(part[0])
            try:
                outputs = await self._packs.infer(triton_model, entry, codec.request.to_arrays([part]), deadline)
            except errors.ModelFailed as error:
                _log.error("model %s raised on its sample: %s", entry.name, error.inside)
                reason = unfit_reason(error.inside) if error.unfit else f"it raised {raised_in(error.inside)}"
                which = f"row {start}" if count == 1 else f"rows {start} to {start + count - 1}"
                problem = f"the model does not answer {which} of its {SAMPLE_NAME}: {reason}"
                raise errors.SmokeTestFailed(problem) from error
            codec.answer.check_shapes(outputs, count)
            [texts] = codec.answer.texts(outputs, [count])
            if isinstance(texts, errors.BadModelOutput):
                raise texts
            for rows_of_output, text in zip(answers, texts, strict=True):
                rows_of_output += orjson.loads(b"[" + text + b"]")
        return answers


def _compare(entry: ModelEntry, served: list[list[Any]], predictions: Any, rows: int | None = None) -> None:
    """Raise SmokeTestFailed with the first row that is not the original's, of the first `rows` of them, or of all."""
    rules = entry.spec.verify or VerifySpec()
    for tensor, answers in zip(entry.outputs, served, strict=True):
        original = predictions.get(tensor.name) if isinstance(predictions, Mapping) else predictions
        if not isinstance(original, list):
            raise errors.SmokeTestFailed(f"{SAMPLE_NAME}: predictions: it has no rows of the output {tensor.name}")
        tolerance = default_tolerance(tensor.dtype, rules.rtol, rules.atol)
        differences = compare_rows(answers, original[:rows], tolerance)
        if differences:
            several = f" ({len(differences)} rows differ)" if len(differences) > 1 else ""
            which = f"output {tensor.name}: " if len(entry.outputs) > 1 else ""
            found = f"{which}{differences[0]}{several}"
            raise errors.SmokeTestFailed(f"its answers are not those of its {SAMPLE_NAME}: {found}")
