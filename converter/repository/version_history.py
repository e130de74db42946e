"""Which number a model's build has, and which older versions stay beside it to go back to.

A changed model is its next version; one that is as it was keeps its number, and so its bytes. A version that was gone
back from stays in the repository, above the served one, so that the next build knows it and does not serve it again
before the model is changed. The numbers are Triton's: the folders of a model's versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from converter.errors import ConfigError, RepositoryError
from converter.repository.digest import digest
from converter.repository.plan import Plan, join_plans
from converter.schema.manifest import Manifest, ModelEntry, OlderVersion, entry_json
from converter.schema.model import nearest


class VersionHistory:
    """What a repository has of one model: its versions, the served one among them."""

    def __init__(self, name: str, old: Manifest, root: Path) -> None:
        self._root = root
        self._files = old.files
        self.served = old.model(name)
        self._older = old.older_of(name)
        self.newest = max([old.numbers.get(name, 0), *(entry.version for entry in self._entries())])

    @property
    def names(self) -> set[str]:
        """The Triton models of any of the versions."""
        return {name for entry in self._entries() for name in entry.triton_models}

    def gone_back_from(self) -> tuple[OlderVersion, ...]:
        served = self.served.version if self.served else 0
        return tuple(item for item in self._older if item.version > served)

    def same(self, plan: Plan, version: OlderVersion) -> bool:
        """Whether a plan under this version's number is what the repository has under it."""
        (entry,) = plan.entries
        here = self._digests(version.entry) | {
            _config(name): hashlib.sha256(text.encode()).hexdigest() for name, text in version.configs.items()
        }
        return entry_json(entry) == entry_json(version.entry) and here == {
            name: digest(content) for name, content in plan.files.items()
        }

    def served_version(self) -> OlderVersion | None:
        """The served one, as it would be kept. None where there is none, or where its config is gone."""
        if self.served is None:
            return None
        try:
            configs = {name: (self._root / _config(name)).read_bytes().decode() for name in self.served.triton_models}
        except (OSError, UnicodeDecodeError):
            return None
        return OlderVersion(entry=self.served, configs=configs)

    def older(self, keep: int) -> list[OlderVersion]:
        """The newest `keep` of those below the served one."""
        served = self.served.version if self.served else 0
        below = [item for item in self._older if item.version < served]
        return below[max(0, len(below) - keep) :]

    def as_older(self, versions: Iterable[OlderVersion]) -> tuple[list[Plan], list[str]]:
        """These versions' files, to be carried over; and a note on each that is damaged, and left out."""
        plans, notes = [], []
        for item in versions:
            files = self._digests(item.entry)
            if all(_is(self._root / name, expected) for name, expected in files.items()):
                plans.append(Plan((), {name: self._root / name for name in files}, (item,)))
            else:
                notes.append(
                    f"{item.name}: version {item.version} is damaged in the repository, and of no use any more"
                )
        return plans, notes

    def as_served(self, version: OlderVersion) -> Plan:
        """This version in the place that is served."""
        files: dict[str, bytes | Path] = {name: self._root / name for name in self._digests(version.entry)}
        files |= {_config(name): text.encode() for name, text in version.configs.items()}
        return Plan((version.entry,), files)

    def _entries(self) -> list[ModelEntry]:
        return [*([self.served] if self.served else []), *(item.entry for item in self._older)]

    def _digests(self, entry: ModelEntry) -> dict[str, str]:
        folders = tuple(f"{name}/{entry.version}/" for name in entry.triton_models)
        return {name: expected for name, expected in self._files.items() if name.startswith(folders)}


def assign_version(shelf: VersionHistory, plan_at: Callable[[int], Plan]) -> tuple[Plan, list[str]]:
    """A model's plan under its number, with its older versions; and notes for the user.

    `plan_at` plans the model as such a version of it.
    """
    served = shelf.served_version()
    if served is not None:
        plan = plan_at(served.version)
        keep = plan.entries[0].spec.versions - 1
        if shelf.same(plan, served):
            older, notes = shelf.as_older([*shelf.older(keep), *shelf.gone_back_from()])
            return join_plans([plan, *older]), notes
        for left in shelf.gone_back_from():
            if shelf.same(plan_at(left.version), left):
                older, notes = shelf.as_older([*shelf.older(keep), *shelf.gone_back_from()])
                notes.append(
                    f"{left.name}: version {served.version} stays, since models/ has version {left.version}, which "
                    "was rolled back: change the model to serve it anew"
                )
                return join_plans([shelf.as_served(served), *older]), notes
    plan = plan_at(shelf.newest + 1)
    keep = plan.entries[0].spec.versions - 1
    carried = [*shelf.older(keep - 1), served] if keep and served is not None else []
    older, notes = shelf.as_older(carried)
    return join_plans([plan, *older]), notes


def rolled_back(name: str, old: Manifest, root: Path) -> Plan:
    """The model as it was in the version before the served one, which is kept above it.

    ConfigError where there is none.
    """
    known = [entry.name for entry in old.models]
    shelf = VersionHistory(name, old, root)
    served = shelf.served_version()
    if shelf.served is None:
        raise ConfigError(f"{name}: no model of the repository has this name{nearest(name, known)}")
    if served is None:
        raise RepositoryError(f"{name}: its config.pbtxt is damaged: build it anew with `schwift build-repo`")
    below = shelf.older(keep=1)
    if not below:
        raise ConfigError(
            f"{name}: the repository has no version before {served.version}: it keeps as many as the model's "
            f"`versions: {served.entry.spec.versions}` says, the served one among them"
        )
    _, damaged = shelf.as_older(below)
    if damaged:
        raise RepositoryError(damaged[0])
    others = [item for item in old.older_of(name) if item.version != below[0].version]
    older, _ = shelf.as_older([*others, served])
    return join_plans([shelf.as_served(below[0]), *older])


def carry_over(old: Manifest, root: Path, names: Iterable[str]) -> Plan:
    """These models and all their versions, as they were built before."""
    wanted = set(names)
    folders = {folder for name in wanted for folder in VersionHistory(name, old, root).names}
    return Plan(
        tuple(entry for entry in old.models if entry.name in wanted),
        {name: root / name for name in old.files if name.split("/")[0] in folders},
        tuple(item for item in old.older if item.name in wanted),
    )


def _config(triton_model: str) -> str:
    return f"{triton_model}/config.pbtxt"


def _is(path: Path, expected: str) -> bool:
    try:
        return digest(path) == expected
    except RepositoryError:
        return False
