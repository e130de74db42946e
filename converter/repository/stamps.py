"""What each model's folder was when it was built, so that one which is as it was need not be looked into again.

Kept beside the builds, for the next one: a model's files by size, times and inode, and what the build went by besides:
settings, the serving environment, and our own code. Nothing is lost with it but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import converter
import triton_repo_template
from converter.environments.interpreter import Interpreter
from converter.inspect.model_folder import SourceFile
from converter.repository.lock import builds_path
from converter.schema.model import LOCK_NAME
from converter.schema.settings import Settings

_STAMPS = "stamps.json"
# File systems note times in steps, some of two seconds: a file may have changed again within one.
_STEP_NS = 2_000_000_000
_TIMES = (3, 4)
# The settings that a build goes by.
SETTINGS = (
    "cache", "check", "debug_model", "engine", "environments", "max_batch_size", "max_body_bytes",
    "max_concurrent_requests", "max_ml_workers", "model_env", "model_links", "pack", "pack_memory_mb",
    "predict_timeout_seconds", "trust", "trust_folders", "trust_imports",
)  # fmt: skip


@dataclass(frozen=True)
class FolderStamp:
    """A model's folder, by file, and what was built of it: the served version, where it runs, and its notes.

    `own_code` says what keeps it out of packs (ModelFacts).
    """

    name: str
    version: int
    files: dict[str, tuple[int, ...]]
    lock: str | None = None
    environment: str | None = None
    own_code: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stamps:
    """The folders of a build by name; `context` is what all of them depend on."""

    context: str = ""
    folders: dict[str, FolderStamp] = field(default_factory=dict)


_STAMPS_JSON = TypeAdapter(Stamps)


def read_stamps(output: Path) -> Stamps:
    """Read what the last build of a repository noted; nothing, if it cannot be read."""
    try:
        return _STAMPS_JSON.validate_json((builds_path(output) / _STAMPS).read_bytes())
    except (OSError, ValidationError):
        return Stamps()


def write_stamps(output: Path, stamps: Stamps) -> None:
    """Note what was built, if a build of models did; a full disk costs the next build its haste, and nothing else."""
    if not stamps.context:
        return
    path = builds_path(output) / _STAMPS
    new = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        new.write_bytes(_STAMPS_JSON.dump_json(stamps))
        os.replace(new, path)


def stamp_files(files: Mapping[str, SourceFile]) -> dict[str, tuple[int, ...]]:
    """Return the stamps of a model's files, by their paths in its folder."""
    return {name: file.stamp for name, file in files.items()}


def stamp_lock(folder: Path) -> str | None:
    """Return the sha256 of a model's lock, which is written after its files are listed; None if it has none."""
    try:
        return hashlib.sha256((folder / LOCK_NAME).read_bytes()).hexdigest()
    except OSError:
        return None


def is_settled(files: Mapping[str, SourceFile], moment: int) -> bool:
    """Tell whether files that were listed at a moment, in ns, would show in their times what changes after it."""
    return all(file.stamp[at] < moment - _STEP_NS for file in files.values() for at in _TIMES)


def describe_context(settings: Settings, cores: int, serving: Interpreter) -> str:
    """Return a digest of what every model of a build depends on."""
    parts = {
        "settings": settings.model_dump(mode="json", include=set(SETTINGS)),
        "cores": cores,
        "serving": [str(serving.prefix), serving.version, dict(serving.packages)],
        "code": [stamp for package in (converter, triton_repo_template) for stamp in _stamp_code(package.__path__[0])],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _stamp_code(folder: str) -> list[tuple[str, int, int]]:
    found = []
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix in (".py", ".j2", ".txt", ".json"):
            seen = path.stat()
            found.append((path.as_posix(), seen.st_size, seen.st_mtime_ns))
    return found
