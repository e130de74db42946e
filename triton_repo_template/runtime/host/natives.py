"""Requests of native clients, which come through a model's own ensemble: tensors whose names begin with the model's.

Which model a name is of, and which version of it the repository holds now, says a file that each build writes anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import triton_io
from ..batch import Arrays
from ..config import BYTES_SUFFIX, LENGTHS_SUFFIX
from ..errors import LoadError, ModelError
from ..packed_strings import pack_strings, unpack_strings
from .envelope import INFER, Part, RawTensor

MEMBERS_FILE = "members.json"


class NativeModel:
    """One model as native clients see it: its key for the host, and its tensors, in their form and as they cross.

    Each tensor is a name and a dtype, of which `string` is one that crosses as two others.
    """

    def __init__(self, name: str, said: Mapping[str, Any]) -> None:
        self.name = name
        self.key = f"{said['files']}/{said['version']}"
        self.wire_inputs, self.wire_outputs = (
            [(item["name"], item["dtype"]) for item in said[kind]] for kind in ("inputs", "outputs")
        )
        self.inputs, self.outputs = (
            _join_packed(items, said["strings"]) for items in (self.wire_inputs, self.wire_outputs)
        )
        self.nullable = frozenset(said["nullable"])


class NativeModels:
    """Tell which model a native request is for, by the file beside the host in the repository that is there now."""

    def __init__(self, model_folder: Path, version: str) -> None:
        # The folder is behind a link that each build points elsewhere.
        self._folder = model_folder
        self._version = version
        self._seen: tuple[int, ...] = ()
        self._by_input: dict[str, NativeModel] = {}

    def find(self, inputs: Iterable[str]) -> NativeModel:
        """Return the model with one of these inputs. Raises ModelError if there is none."""
        self._refresh()
        for name in inputs:
            model = self._by_input.get(name)
            if model is not None:
                return model
        raise ModelError("no model of the pack takes these inputs")

    def _refresh(self) -> None:
        try:
            path = self._folder / self._version / MEMBERS_FILE
            try:
                found = os.stat(path)
            except FileNotFoundError:
                # The build that is there now has the host under another number.
                path = max(self._folder.glob(f"[0-9]*/{MEMBERS_FILE}"), key=lambda one: int(one.parent.name))
                found = os.stat(path)
            seen = found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size
            if seen == self._seen:
                return
            said = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            if self._by_input:
                # A build is being put in place.
                return
            raise LoadError(f"{MEMBERS_FILE} is not there, or damaged: build the repository again") from error
        self._by_input = {}
        for name, entry in said.items():
            model = NativeModel(name, entry)
            for tensor, _ in (*model.inputs, *model.wire_inputs):
                self._by_input[f"{name}.{tensor}"] = model
        self._seen = seen


def to_part(model: NativeModel, arrays: Arrays) -> Part:
    """Make the part of a call that asks a model for these inputs, in the clients' form."""
    tensors = []
    for name, dtype in model.inputs:
        array = arrays[name]
        for one in pack_strings(array) if dtype == "string" else (array,):
            tensors.append(RawTensor(one.shape, one.tobytes()))
    return Part(INFER, model.key.encode(), tensors)


def from_part(model: NativeModel, part: Part) -> Arrays:
    """Return the outputs in an answer's part, in the clients' form. Raises ValueError if they are not whole."""
    values = [
        np.frombuffer(tensor.values, dtype).reshape(tensor.shape)
        for tensor, (_, dtype) in zip(part.tensors, model.wire_outputs, strict=True)
    ]
    arrays: dict[str, npt.NDArray[Any]] = {}
    left = iter(values)
    for name, dtype in model.outputs:
        arrays[name] = unpack_strings(next(left), next(left)) if dtype == "string" else next(left)
    return arrays


def _join_packed(items: Sequence[tuple[str, str]], strings: Sequence[str]) -> list[tuple[str, str]]:
    """Put each string in the place of the two tensors that it crosses as."""
    first = {name + BYTES_SUFFIX: name for name in strings}
    second = {name + LENGTHS_SUFFIX for name in strings}
    return [(first[name], "string") if name in first else (name, dtype) for name, dtype in items if name not in second]


def read_native(request: Any, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return a native request's tensors, by their names without the model's."""
    return {name.removeprefix(prefix): array for name, array in triton_io.read_all(request).items()}
