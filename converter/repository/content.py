"""The parts of a repository before it is written: files, models that have no number yet, and numbered ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from converter.errors import RepositoryError
from converter.repository.render import set_version
from converter.schema.manifest import ModelEntry, OlderVersion, entry_json
from converter.schema.wire import ALONE_FILE

_CHUNK = 1024 * 1024
# Where the number stands in the JSON of a config; texts of others have no such quotes.
_NUMBER = re.compile(r'("versions": \[")\d+("\])')


@dataclass(frozen=True)
class PlannedFile:
    """A file's bytes, or the path that it is copied from, and the sha256 of either.

    A path of text is one of tens of thousands, which are quicker so.
    """

    content: bytes | str | Path
    digest: str


def read_files(files: Mapping[str, bytes | Path]) -> dict[str, PlannedFile]:
    """Add the sha256 of each file. Raises RepositoryError if one cannot be read."""
    return {name: PlannedFile(content, digest(content)) for name, content in files.items()}


@dataclass(frozen=True)
class ModelContent:
    """One model, all but the number of its version, which is 0 in `entry` and in `configs`.

    `configs` has the text of config.pbtxt of each Triton model, `files` are by `<Triton model>/<path in the version's
    folder>`.
    """

    entry: ModelEntry
    configs: Mapping[str, str]
    files: Mapping[str, PlannedFile]

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that makes a version: equal contents go by one number."""
        digests = {name: file.digest for name, file in self.files.items()}
        parts = json.dumps([entry_json(self.entry), dict(self.configs), digests], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    def lay_out(self, version: int) -> Plan:
        """Plan the model's files as this version of it."""
        files = read_files(
            {config_path(name): set_version(text, version).encode() for name, text in self.configs.items()}
        )
        for path, file in self.files.items():
            name, _, inner = path.partition("/")
            files[f"{name}/{version}/{inner}"] = set_file_version(self.entry, path, file, version)
        return Plan((self.entry.model_copy(update={"version": version}),), files)


@dataclass(frozen=True)
class Plan:
    """Some models of a repository, and hosts: every file of them, by path relative to its root."""

    entries: tuple[ModelEntry, ...]
    files: Mapping[str, PlannedFile]
    older: tuple[OlderVersion, ...] = ()
    hosts: tuple[ModelEntry, ...] = ()


def join_plans(plans: Iterable[Plan]) -> Plan:
    """Join the models of all plans, in the order of their names and numbers."""
    listed = list(plans)
    entries = sorted((entry for plan in listed for entry in plan.entries), key=lambda entry: entry.name)
    hosts = sorted((host for plan in listed for host in plan.hosts), key=lambda host: host.name)
    older = sorted((item for plan in listed for item in plan.older), key=lambda item: (item.name, item.version))
    files = {name: file for plan in listed for name, file in plan.files.items()}
    return Plan(tuple(entries), dict(sorted(files.items())), tuple(older), tuple(hosts))


def set_file_version(entry: ModelEntry, path: str, file: PlannedFile, version: int) -> PlannedFile:
    """Put a version's number into a file that has it inside: an ensemble's other config, which is JSON."""
    if entry.host is None or path not in {f"{name}/{ALONE_FILE}" for name in (entry.front, entry.direct)}:
        return file
    try:
        text = file.content if isinstance(file.content, bytes) else Path(file.content).read_bytes()
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be read: {error.strerror}") from error
    numbered = _NUMBER.sub(rf"\g<1>{version}\g<2>", text.decode(errors="replace")).encode()
    return replace(file, content=numbered, digest=digest(numbered))


def config_path(triton_model: str) -> str:
    """Name the config of a Triton model, relative to the repository's root."""
    return f"{triton_model}/config.pbtxt"


def digest(content: bytes | str | Path) -> str:
    """Return the sha256 in hex. Raises RepositoryError if a file cannot be read."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    found = hashlib.sha256()
    try:
        descriptor = os.open(content, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            for chunk in read_chunks(file):
                found.update(chunk)
    except OSError as error:
        raise RepositoryError(f"{content}: cannot be read: {error.strerror}") from error
    return found.hexdigest()


def is_intact(file: PlannedFile) -> bool:
    """Tell whether a file still has the digest that it was planned with."""
    try:
        return digest(file.content) == file.digest
    except RepositoryError:
        return False


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file in pieces, and no more of it than it has now: one that grows would have no end."""
    left = os.fstat(file.fileno()).st_size
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        yield chunk
        left -= len(chunk)
