"""Calls of one model: the rows of several requests go to Triton as one batch, and come back as each one's own."""

from __future__ import annotations

from collections.abc import Sequence

from adapter import errors
from adapter.backend.protocol import InferenceBackend
from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.request_timings import RequestTimings
from converter.schema.manifest import ModelEntry


class ModelCalls:
    """Call either Triton model of a source model."""

    def __init__(self, entry: ModelEntry, codec: Codec, backend: InferenceBackend) -> None:
        self.entry = entry
        self._codec = codec
        self._backend = backend
        self.row_shape = codec.request.row_shape

    async def infer(
        self,
        model: str,
        features: Sequence[Features],
        rows: Sequence[int],
        deadline: float,
        timings: Sequence[RequestTimings],
        queued: bool = False,
    ) -> Sequence[Texts | errors.BadModelOutput]:
        """Return the answer to each request that had so many `rows`, by `deadline`, a time of the running loop.

        `model` is the name of the Triton model. `queued` says that it has a queue, which is to drop the call
        then.

        Raises: AdapterError, which says whatever became of the call as a whole.
        """
        entry, codec = self.entry, self._codec
        arrays = codec.request.to_arrays(features)
        trace = timings[0].trace
        if trace is None:
            outputs = await self._backend.infer(model, entry, arrays, deadline, queued)
        else:
            joined = [item.trace for item in timings if item.trace is not None]
            with trace.call(joined, model, sum(rows)):
                outputs = await self._backend.infer(model, entry, arrays, deadline, queued)
        codec.answer.check_shapes(outputs, sum(rows))
        return codec.answer.write(outputs, rows, timings)
