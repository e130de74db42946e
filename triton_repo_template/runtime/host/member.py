"""One model of a pack: its config, its code, and what it costs."""

from __future__ import annotations

import importlib
import json
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .. import triton_io
from ..batch import Arrays, call_joined, rows_of
from ..config import ModelConfig
from ..conform import conform, decode_inputs
from ..errors import LoadError, ModelError, as_model_error
from ..loaders import Predictor, check_environment, load_predictor
from .running_note import RunningNote, key_block
from .time_slice import CallSlice
from .wire_form import WireForm

MEMBER_FILE = "member.json"
# The folder of a Triton model, and a version of it.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,254}/[1-9][0-9]{0,17}")
# What Python says of a module that another thread is importing just now.
_IMPORTING = re.compile(r"partially initialized module '([^']+)'")
_Item = TypeVar("_Item")


class Member:
    """A loaded model, which its host knows by `key`.

    `size` is by how many bytes its load and its calls have let the process grow, `seconds` how long the load took, and
    `used` when it was asked last (time.monotonic()).
    """

    def __init__(self, key: str, config: ModelConfig, predict: Predictor, note: RunningNote, debug: bool) -> None:
        self.key = key
        self.block = key_block(key)
        self.inputs = WireForm(config.inputs, config.packed_inputs)
        self.outputs = WireForm(config.outputs, config.packed_outputs)
        self.size = 0
        self.seconds = 0.0
        self.used = 0.0
        self._config = config
        self._predict = predict
        self._note = note
        self._slice = CallSlice()
        self._debug = debug

    def answer(self, items: Sequence[Arrays]) -> tuple[list[Arrays | ModelError], int]:
        """Return the answers to these items' rows, in few calls, and how many microseconds the model took."""
        started = time.monotonic()
        self.used = started
        self._note.begin(self.block, started)
        self._slice.begin()
        try:
            if len(items) == 1 and self._fits(items[0]):
                results = [self._answer_one(items[0])]
            else:
                results = self._answer_each(items)
        finally:
            seconds = time.monotonic() - started
            self._slice.end(seconds)
            self._note.end()
        return results, int(seconds * 1e6)

    def _fits(self, arrays: Arrays) -> bool:
        return rows_of(arrays) <= self._config.max_batch_size or not self._config.max_batch_size

    def _answer_one(self, arrays: Arrays) -> Arrays | ModelError:
        try:
            return self._call(arrays)
        except (Exception, SystemExit) as error:
            return as_model_error(error)

    def _answer_each(self, items: Sequence[Arrays]) -> list[Arrays | ModelError]:
        """Join the items as far as the model's largest call allows."""
        most = self._config.max_batch_size
        results: list[Arrays | ModelError] = []
        for chunk in split_rows(items, most, rows_of):
            if self._fits(chunk[0]):
                results += call_joined(chunk, self._call)
            else:
                results.append(ModelError(f"{rows_of(chunk[0])} rows in a call, and the model takes {most}"))
        return results

    def _call(self, arrays: Arrays) -> Arrays:
        rows = rows_of(arrays)
        inputs = decode_inputs(arrays, self._config.inputs)
        try:
            return conform(self._predict_beside_loads(inputs), self._config.outputs, rows)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{self.key}: a call of {rows} rows failed: {as_model_error(error)}")
            if self._debug:
                triton_io.log_error(traceback.format_exc())
            raise

    def _predict_beside_loads(self, inputs: Arrays) -> Any:
        """Call the model, once more if it met a library that is being imported for a mate.

        Libraries look for each other in sys.modules, scikit-learn for pandas in each call.
        """
        try:
            return self._predict(inputs)
        except (AttributeError, ImportError) as error:
            found = _IMPORTING.search(str(error))
            if found is None:
                raise
            # This waits until it is whole.
            importlib.import_module(found[1])
        return self._predict(inputs)


def split_rows(items: Sequence[_Item], most: int, rows: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    """Split items, in order, into lists of at most so many rows; one of more is alone. `most` 0 is no bound."""
    chunk: list[_Item] = []
    total = 0
    for item in items:
        count = rows(item)
        if chunk and most and total + count > most:
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += count
    if chunk:
        yield chunk


def load_member(repository: Path, key: str, note: RunningNote, threads: int, debug: bool) -> Member:
    """Load a model from its folder in the repository. Raises ModelError, or what the model's own code raises."""
    if not _KEY.fullmatch(key):
        raise LoadError(f"{key[:100]} is no model and version")
    folder = repository / key
    try:
        described = json.loads((folder / MEMBER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"{key}/{MEMBER_FILE} cannot be read ({error}): build the repository again") from None
    config = ModelConfig.read(described["config"])
    if described["backend"] == "onnxruntime":
        predict = _load_graph(folder, config, threads)
    else:
        predict = load_predictor(folder, config, threads)
    return Member(key, config, predict, note, debug)


def _load_graph(folder: Path, config: ModelConfig, threads: int) -> Predictor:
    check_environment(folder)
    try:
        from ..onnx_model import load_graph
    except ImportError:
        raise LoadError("the environment of the pack has no onnxruntime: pip install onnxruntime") from None
    intra, inter = (
        min(threads, int(config.parameters.get(name, "1")))
        for name in ("intra_op_thread_count", "inter_op_thread_count")
    )
    return load_graph(folder / (config.default_model_filename or "model.onnx"), config, intra, inter)
