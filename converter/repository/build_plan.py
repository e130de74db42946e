"""A whole repository as a build would have it, and how it differs from the one that is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converter.repository.content import Plan, PlannedFile, join_plans
from converter.repository.stamps import Stamps
from converter.schema.manifest import FILENAME, Manifest, ModelEntry, entry_json


@dataclass(frozen=True)
class Changes:
    """What a build does to a repository, as paths relative to its root; `models` have another entry in it."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    models: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True)
class BuildPlan:
    """The repository to have at `output`.

    `built` are the models that were asked for, `notes` are for the user, and a `hint` to say once; `stamps` are for
    the next build.
    """

    output: Path
    manifest: Manifest
    files: Mapping[str, PlannedFile]
    changes: Changes
    built: tuple[ModelEntry, ...]
    notes: tuple[str, ...] = ()
    stamps: Stamps = field(default_factory=Stamps)
    hint: str | None = None


def complete_plan(
    output: Path, plans: Iterable[Plan], old: Manifest | None, names: Sequence[str] = (), notes: Iterable[str] = ()
) -> BuildPlan:
    """Make one repository of these plans, in place of `old`; `names` are the models planned anew, by default all."""
    whole = join_plans(plans)
    numbers = dict(old.numbers) if old else {}
    for entry in (*whole.entries, *whole.hosts, *(item.entry for item in whole.older)):
        numbers[entry.name] = max(entry.version, numbers.get(entry.name, 0))
    digests = {name: file.digest for name, file in whole.files.items()}
    manifest = Manifest(models=whole.entries, hosts=whole.hosts, older=whole.older, numbers=numbers, files=digests)
    built = tuple(entry for entry in manifest.models if not names or entry.name in names)
    return BuildPlan(output, manifest, whole.files, compare(old, manifest), built, tuple(notes))


def compare(old: Manifest | None, new: Manifest) -> Changes:
    """Find what differs in the versions that are served; the manifest too, if nothing else does."""
    numbers = _list_numbers(new)
    before = _list_served(old, numbers) if old else {}
    after = _list_served(new, numbers)
    changed = [name for name, expected in after.items() if before.get(name, expected) != expected]
    # As JSON, where NaN is like NaN.
    entries = {entry.name: entry_json(entry) for entry in old.models} if old else {}
    models = tuple(entry.name for entry in new.models if entries.get(entry.name) != entry_json(entry))
    others = old is not None and (len(old.models), old.older, old.hosts) != (len(new.models), new.older, new.hosts)
    if old is not None and (models or others):
        changed.append(FILENAME)
    return Changes(
        added=tuple(name for name in after if name not in before),
        changed=tuple(changed),
        removed=tuple(name for name in before if name not in after),
        models=models,
    )


def _list_numbers(manifest: Manifest) -> dict[str, int]:
    """List the served version of each folder."""
    return {name: entry.version for entry in (*manifest.models, *manifest.hosts) for name in entry.folders}


def _list_served(manifest: Manifest, numbers: Mapping[str, int]) -> dict[str, str]:
    """List the files but for those of older versions, as if each model had its new number."""
    olds = tuple(f"{name}/{item.version}/" for item in manifest.older for name in item.entry.folders)
    now = _list_numbers(manifest)
    found = {}
    for path, expected in manifest.files.items():
        name, _, rest = path.partition("/")
        number, _, inner = rest.partition("/")
        if not path.startswith(olds):
            renamed = name in numbers and inner and number == str(now.get(name))
            found[f"{name}/{numbers[name]}/{inner}" if renamed else path] = expected
    return found
