"""What a repository has, looked up by model: each is asked for by name, and there may be a thousand."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from converter.repository.content import PlannedFile, config_path, is_intact
from converter.repository.runtime_files import RUNTIME_PACKAGE
from converter.schema.manifest import FILENAME, Manifest, ModelEntry, OlderVersion
from converter.schema.wire import wake_key_path


class BuiltRepository:
    """The models, versions and files of a repository at `root`, which a manifest says that it has."""

    def __init__(self, manifest: Manifest, root: Path) -> None:
        self.root = root
        self._base = str(root)
        self.numbers = manifest.numbers
        self.served = {entry.name: entry for entry in manifest.models}
        self.hosts = {host.name: host for host in manifest.hosts}
        self._older: defaultdict[str, list[OlderVersion]] = defaultdict(list)
        for item in manifest.older:
            self._older[item.name].append(item)
        self._files: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for path, digest in manifest.files.items():
            self._files[path.partition("/")[0]][path] = digest

    def list_older(self, name: str) -> list[OlderVersion]:
        """List a model's versions beside the served one, in the order of their numbers."""
        return self._older.get(name, [])

    def is_moved(self, name: str, host: str | None) -> bool:
        """Tell whether a model has another host now than its served version, unless that is one gone back to."""
        served = self.served[name]
        return served.host != host and not any(item.version > served.version for item in self.list_older(name))

    def list_all_files(self, triton_model: str) -> dict[str, Path]:
        """List the files of a Triton model's folder, all its versions and its config."""
        return {path: self.root / path for path in self._files.get(triton_model, {})}

    def has_own_parts(self, entry: ModelEntry) -> bool:
        """Tell whether a served version's small files, which are of no folder in models/, are as they were built."""
        names = [config_path(name) for name in entry.folders]
        if entry.front is not None and entry.host is None:
            names.append(wake_key_path(entry.front, entry.version))
        return all(is_intact(self.find_file(name)) for name in names)

    def is_as_built(self, entry: ModelEntry) -> bool:
        """Tell whether a version's own files, all but our runtime's, are those that were built.

        A file is read only if it was touched after the manifest was written, which is done last.
        """
        for name in entry.folders:
            for path in self._files.get(name, {}):
                if not path.startswith(f"{name}/{entry.version}/") or f"/{RUNTIME_PACKAGE}/" in path:
                    continue
                try:
                    seen = os.lstat(f"{self._base}/{path}")
                except OSError:
                    return False
                touched = seen.st_ctime_ns > self._written_at
                if not stat.S_ISREG(seen.st_mode) or (touched and not is_intact(self.find_file(path))):
                    return False
        return True

    @cached_property
    def _written_at(self) -> int:
        return os.stat(self.root / FILENAME).st_ctime_ns

    def find_file(self, path: str) -> PlannedFile:
        """Return a file of the repository, with what the manifest says of it; nothing has that digest if it is none."""
        return PlannedFile(f"{self._base}/{path}", self._files.get(path.partition("/")[0], {}).get(path, ""))

    def list_version_files(self, entry: ModelEntry) -> dict[str, PlannedFile]:
        """List the files in a version's folders, with what the manifest says of them."""
        return {
            path: PlannedFile(f"{self._base}/{path}", digest)
            for name in entry.folders
            for path, digest in self._files.get(name, {}).items()
            if path.startswith(f"{name}/{entry.version}/")
        }
