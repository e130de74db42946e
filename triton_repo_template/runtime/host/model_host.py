"""`<pack>_pack_direct`, the host: the process of several models, behind Triton's Python backend."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from .. import triton_io
from ..config import ModelConfig
from ..errors import ModelError, as_model_error
from ..loaders import check_environment
from ..threads import (
    available_cores,
    limit_environment,
    limit_loaded,
    set_precise_timers,
    threads_per_instance,
)
from .host_turn import Turn
from .loaded_members import LoadedMembers
from .lone_calls import LoneCalls
from .member import Member, load_member
from .member_names import MemberNames
from .pack_files import ANSWER_TENSOR, CALL_TENSOR, read_host_key
from .running_note import NOTES_VARIABLE, RunningNote
from .siblings import Siblings
from .wire_form import Array

_MIB = 1024 * 1024
# For the loads before the first request, all together.
_BEFORE_SECONDS = 20.0


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        set_precise_timers()
        parameters = ModelConfig.parse(args["model_config"]).parameters
        self._name = args["model_name"]
        self._folder = Path(args["model_repository"])
        self._repository = self._folder.parent
        self._debug = parameters["debug"] == "1"
        self._threads = threads_per_instance(
            int(parameters["instances"]), int(parameters["max_workers"]), available_cores()
        )
        limit_environment(self._threads)
        version_folder = self._folder / args["model_version"]
        try:
            check_environment(version_folder)
            self._key = read_host_key(version_folder)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{self._name}: {traceback.format_exc()}")
            raise as_model_error(error) from None
        limit_loaded(self._threads)
        memory = parameters.get("memory_mb", "")
        self._names = MemberNames(self._folder)
        self._note = RunningNote(os.environ.get(NOTES_VARIABLE))
        self._siblings = Siblings(os.environ.get(NOTES_VARIABLE), self._name, int(parameters["instances"]))
        known = self._siblings.list_loaded()
        self._members = LoadedMembers(
            self._load,
            self._note,
            int(memory) * _MIB if memory else None,
            lambda key: _size(self._repository / key),
            siblings=self._siblings,
        )
        self._lone_calls = LoneCalls(self._members)
        self._load_before(known)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Call each member once for the rows of all requests."""
        calls = [triton_io.read_only_input(request, CALL_TENSOR) for request in requests]
        if len(calls) == 1 and calls[0] is not None:
            data = self._lone_calls.answer(calls[0].reshape(-1))
            if data is not None:
                return [triton_io.answer_bytes(ANSWER_TENSOR, data)]
        turn = Turn(self._members, self._key, self._lone_calls)
        answers = [self._take(request, call, turn) for request, call in zip(requests, calls, strict=True)]
        turn.run()
        return [answer() for answer in answers]

    def finalize(self) -> None:
        """Let the process end quickly: Python's last collections go through all objects of the models' libraries."""
        self._members.stop()
        self._siblings.leave()
        self._note.remove()
        gc.freeze()

    def _load_before(self, keys: Sequence[str]) -> None:
        """Load models before Triton sends requests here; one that does not load, or not soon, is loaded as it is asked.

        Until this ends, the process before answers, so that a reload makes nobody wait for libraries.
        """
        wait([self._members.ask(key) for key in keys if (self._repository / key).is_dir()], _BEFORE_SECONDS)

    def _take(self, request: Any, call: Array | None, turn: Turn) -> Callable[[], Any]:
        try:
            if call is not None:
                return turn.take_envelope(call)
            self._names.refresh()
            tensors = triton_io.list_tensors(request)
            return turn.take_native(self._names.find(tensors), tensors)
        except ModelError as error:
            text = str(error)
            return lambda: triton_io.failure(text)

    def _load(self, key: str) -> Member:
        modules = len(sys.modules)
        try:
            return load_member(self._repository, key, self._note, self._threads, self._debug)
        finally:
            if len(sys.modules) != modules:
                limit_loaded(self._threads)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
