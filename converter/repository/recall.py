"""Models that are as they were at the last build: planned from what the repository has, without a look into them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converter.environments.environment_store import EnvironmentStore
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.inspect.model_folder import SourceFile
from converter.repository.built import BuiltRepository
from converter.repository.content import Plan
from converter.repository.stamps import FolderStamp, Stamps, is_settled, stamp_files, stamp_lock
from converter.repository.version_history import VersionHistory, repeat_version
from converter.schema.model import ModelSpec


@dataclass(eq=False)
class Recall:
    """Recalls models by their folders' stamps; `context` is that of the build that begins now."""

    stamps: Stamps
    context: str
    built: BuiltRepository
    store: EnvironmentStore
    # Before the files are listed.
    _moment: int = field(default_factory=lambda: time.time_ns(), init=False)
    _recalled: dict[str, FolderStamp] = field(default_factory=dict, init=False)

    def find_spec(self, folder: Path, files: Mapping[str, SourceFile]) -> ModelSpec | None:
        """Return the spec of a folder that is as it was when the served version was built of it; None of any other."""
        stamp = self.stamps.folders.get(folder.name)
        if stamp is None or self.context != self.stamps.context or stamp.files != stamp_files(files):
            return None
        entry = self.built.served.get(stamp.name)
        if entry is None or entry.version != stamp.version or stamp.lock != stamp_lock(folder):
            return None
        if stamp.environment is not None and self.store.find(stamp.environment) is None:
            return None
        if not self.built.has_own_parts(entry) or not self.built.is_as_built(entry):
            return None
        self._recalled[entry.name] = stamp
        return entry.spec

    def is_recalled(self, name: str) -> bool:
        """Tell whether a model is as it was."""
        return name in self._recalled

    def stamp_of(self, name: str) -> FolderStamp:
        """Return what was noted of a recalled model."""
        return self._recalled[name]

    def plan(self, name: str) -> tuple[Plan, list[str]]:
        """Plan a recalled model as it is in the repository, and repeat what the user should know of it."""
        plan, notes = repeat_version(VersionHistory(name, self.built))
        return plan, [*self._recalled[name].notes, *notes]

    def note_folders(
        self, sources: Iterable[ModelSource], facts: Mapping[str, ModelFacts], plans: Mapping[str, Plan]
    ) -> Stamps:
        """Return the stamps for the next build: of models that were looked into now, and those that were there."""
        kept = self.stamps.folders if self.context == self.stamps.context else {}
        folders = dict(kept)
        for source in sources:
            name = source.spec.name
            if name in self._recalled:
                continue
            folders.pop(source.folder.name, None)
            if is_settled(source.originals, self._moment):
                known = facts[name]
                folders[source.folder.name] = FolderStamp(
                    name=name,
                    version=plans[name].entries[0].version,
                    files=stamp_files(source.originals),
                    lock=stamp_lock(source.folder),
                    environment=known.environment.key if known.environment else None,
                    own_code=known.own_code,
                    notes=known.notes,
                )
        return Stamps(self.context, folders)
