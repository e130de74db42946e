"""The models that a host holds: loaded when they are asked for, and let go of when they are asked least."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from .. import triton_io
from ..batch import Arrays, rows_of
from ..config import ModelConfig
from ..conform import conform, decode_inputs
from ..errors import LoadError, ModelError, as_model_error

# A packed model's folder, and that of one on trial (converter/schema/manifest.py), with the version's number.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:~[0-9a-f]+)?/[1-9][0-9]*")
MEMBER_FILE = "member.json"
# Of what is not there yet, so that a call is not held up by it for longer.
_PATIENCE_SECONDS = 0.05
# After a load that failed.
_AGAIN_SECONDS = 1.0

Predictor = Callable[[Arrays], Any]
# Loads the model of a version folder; its config, and `python` or `onnxruntime`, are the member file's.
Load = Callable[[Path, ModelConfig, str], Predictor]


class StillLoading(Exception):
    """A model is not there yet, and will be soon."""


class Member:
    """One model of a pack in this process; `size` is by how many bytes this process has grown for it."""

    __slots__ = ("config", "key", "predict", "seconds", "size", "used")

    def __init__(self, key: str, config: ModelConfig, predict: Predictor, size: int, seconds: float) -> None:
        self.key = key
        self.config = config
        self.predict = predict
        self.size = size
        self.seconds = seconds
        self.used = time.monotonic()

    def call(self, arrays: Arrays) -> Arrays:
        """Call the model. Raises whatever it raises, and BadModelOutput."""
        config = self.config
        return conform(self.predict(decode_inputs(arrays, config.inputs)), config.outputs, rows_of(arrays))


class Members:
    """Hold the models of a repository that belong to this host; `host` is its name, `most_bytes` a bound on all.

    Models are loaded one at a time, in a thread of their own: those that are there answer meanwhile.
    """

    def __init__(self, repository: Path, host: str, load: Load, most_bytes: int | None = None) -> None:
        self._repository = repository
        self._host = host
        self._load = load
        self._most_bytes = most_bytes
        # The one used last is the last.
        self._there: OrderedDict[str, Member] = OrderedDict()
        self._coming: dict[str, Future[Member]] = {}
        # When a load failed, and how.
        self._failed: dict[str, tuple[float, ModelError]] = {}
        self._loader = ThreadPoolExecutor(1, "load")

    def get(self, key: str, patience: float | None = _PATIENCE_SECONDS) -> Member:
        """Return a model, which is loaded if it is not there; without `patience` wait for it as long as it takes.

        Raises: StillLoading; ModelError if it cannot be loaded.
        """
        member = self._there.get(key)
        if member is None:
            member = self._fetch(key, patience)
        else:
            self._there.move_to_end(key)
        member.used = time.monotonic()
        return member

    def evict(self, key: str) -> None:
        """Let go of a model, if it is there."""
        self._there.pop(key, None)
        self._failed.pop(key, None)

    def describe(self) -> dict[str, dict[str, float]]:
        """Return the size of each model that is there, in bytes, and the seconds since it was asked last."""
        now = time.monotonic()
        return {key: {"bytes": one.size, "used": round(now - one.used, 3)} for key, one in self._there.items()}

    def close(self) -> None:
        """Load nothing more."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: str, patience: float | None) -> Member:
        coming = self._coming.get(key)
        if coming is None:
            failed = self._failed.get(key)
            if failed is not None and time.monotonic() - failed[0] < _AGAIN_SECONDS:
                raise failed[1]
            coming = self._coming[key] = self._loader.submit(self._load_now, key)
        if not wait([coming], patience).done:
            raise StillLoading(key)
        del self._coming[key]
        try:
            member = coming.result()
        except ModelError as error:
            self._failed[key] = time.monotonic(), error
            raise
        self._failed.pop(key, None)
        self._there[key] = member
        self._make_room()
        return member

    def _load_now(self, key: str) -> Member:
        started, before = time.monotonic(), resident_bytes()
        try:
            folder, config, backend = self._read(key)
            predict = self._load(folder, config, backend)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{key}: {type(error).__name__}: {error}")
            raise as_model_error(error) from None
        size = max(0, resident_bytes() - before)
        return Member(key, config, predict, size, time.monotonic() - started)

    def _read(self, key: str) -> tuple[Path, ModelConfig, str]:
        if not _KEY.fullmatch(key):
            raise LoadError("a pack has no model of this name")
        folder = self._repository / key
        try:
            said = json.loads((folder / MEMBER_FILE).read_bytes())
        except (OSError, ValueError):
            raise LoadError(f"{MEMBER_FILE} is not there, or damaged: build the repository again") from None
        if said["pack"] != self._host:
            raise LoadError(f"the model is of another pack, {said['pack']}")
        # Known libraries' code alone: nothing of a model's own folder is to be imported by another one.
        said["config"].setdefault("parameters", {})["import_roots"] = {"string_value": "[]"}
        return folder, ModelConfig.parse(json.dumps(said["config"])), said["backend"]

    def _make_room(self) -> None:
        """Let go of those that were asked least, but for the newest."""
        if self._most_bytes is None:
            return
        while len(self._there) > 1 and sum(one.size for one in self._there.values()) > self._most_bytes:
            self._there.popitem(last=False)


def resident_bytes() -> int:
    """Return how much memory this process holds of its own."""
    with open("/proc/self/statm", encoding="ascii") as file:
        _, resident, shared, *_ = file.read().split()
    return (int(resident) - int(shared)) * 4096
