"""Which number a model's build has, and which older versions stay beside it to go back to.

A changed model is its next version, and so is one whose files in the repository are others than were built; one that is
as it was keeps its number, and so its bytes. A version that was gone back from stays in the repository, above the
served one, so that the next build knows it and does not serve it again before the model is changed. The numbers are
Triton's: the folders of a model's versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from converter.errors import ConfigError, RepositoryError
from converter.repository.built import BuiltRepository
from converter.repository.content import (
    ModelContent,
    Plan,
    config_path,
    is_intact,
    join_plans,
    read_files,
    set_file_version,
)
from converter.repository.render import set_version
from converter.schema.manifest import ModelEntry, OlderVersion
from converter.schema.model import nearest
from converter.schema.wire import HOST_KEY_FILE, MEMBERS_FILE, WAKE_KEY_FILE

_KEY = re.compile(r"[0-9a-f]{32}")


class VersionHistory:
    """What a repository has of one model or host: its versions, the served one among them."""

    def __init__(self, name: str, built: BuiltRepository) -> None:
        self.built = built
        self._root = built.root
        self._is_host = name in built.hosts and name not in built.served
        self.served = built.hosts.get(name) if self._is_host else built.served.get(name)
        self._older = built.list_older(name)
        self.newest = max([built.numbers.get(name, 0), *(entry.version for entry in self._list_entries())])

    @property
    def names(self) -> set[str]:
        """The folders of any of the versions."""
        return {name for entry in self._list_entries() for name in entry.folders}

    def list_rolled_back(self) -> tuple[OlderVersion, ...]:
        """List the versions above the served one, which are there since it was gone back to."""
        served = self.served.version if self.served else 0
        return tuple(item for item in self._older if item.version > served)

    def find_served(self) -> OlderVersion | None:
        """Find the served version, as it would be kept. None if there is none, or if its config is gone."""
        if self.served is None:
            return None
        try:
            configs = {name: (self._root / config_path(name)).read_bytes().decode() for name in self.served.folders}
        except (OSError, UnicodeDecodeError):
            return None
        return OlderVersion(entry=self.served, configs=configs)

    def list_older(self, keep: int) -> list[OlderVersion]:
        """List the newest `keep` versions below the served one."""
        served = self.served.version if self.served else 0
        below = [item for item in self._older if item.version < served]
        return below[max(0, len(below) - keep) :]

    def recall_content(self, version: OlderVersion) -> ModelContent:
        """Recall a version without its number, as the repository says that it was built."""
        files = {_drop_number(name): file for name, file in self.built.list_version_files(version.entry).items()}
        return ModelContent(
            version.entry.model_copy(update={"version": 0}),
            {name: set_version(text, 0) for name, text in version.configs.items()},
            {
                name: set_file_version(version.entry, name, file, 0)
                for name, file in files.items()
                # What a host's members are now is of no version of it.
                if not (self._is_host and name.endswith(f"/{MEMBERS_FILE}"))
            },
        )

    def join_older(self, plan: Plan, versions: Iterable[OlderVersion]) -> tuple[Plan, list[str]]:
        """Add older versions as they lie in the repository; notes name each that is damaged, and left out."""
        plans, notes = [plan], []
        for item in versions:
            files = self.built.list_version_files(item.entry)
            if all(is_intact(file) for file in files.values()):
                plans.append(Plan((), files, (item,)))
            else:
                notes.append(
                    f"{item.name}: version {item.version} is damaged in the repository, and of no use any more"
                )
        return join_plans(plans), notes

    def plan_served(self, version: OlderVersion) -> Plan:
        """Plan the files of a version that is there for the place that is served."""
        files: dict[str, bytes | Path] = {
            name: self._root / name for name in self.built.list_version_files(version.entry)
        }
        files |= {config_path(name): text.encode() for name, text in version.configs.items()}
        return Plan((version.entry,), read_files(files))

    def read_wake_key(self) -> str | None:
        """Read the secret mark of the served front's wake-ups; None if there is none, or it is damaged."""
        if self.served is None or self.served.host is not None:
            return None
        return self._read_key(self.served.front, WAKE_KEY_FILE)

    def read_host_key(self) -> str | None:
        """Read the secret key of a served host, without which it takes no call; None as for a wake key."""
        return self._read_key(self.served.direct, HOST_KEY_FILE) if self.served else None

    def _read_key(self, folder: str | None, name: str) -> str | None:
        if self.served is None or folder is None:
            return None
        try:
            key = (self._root / folder / str(self.served.version) / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return key if _KEY.fullmatch(key) else None

    def _list_entries(self) -> list[ModelEntry]:
        return [*([self.served] if self.served else []), *(item.entry for item in self._older)]


def assign_version(history: VersionHistory, content: ModelContent) -> tuple[Plan, list[str]]:
    """Plan a model under its number, with its older versions; and say what the user should know."""
    keep = content.entry.spec.versions - 1
    served, damaged = history.find_served(), []
    if served is not None and not history.built.is_as_built(served.entry):
        damaged = [
            f"{served.name}: version {served.version} is not in the repository as it was built, and is built anew"
        ]
        served = None
    if served is not None:
        beside = [*history.list_older(keep), *history.list_rolled_back()]
        if history.recall_content(served).fingerprint == content.fingerprint:
            return history.join_older(content.lay_out(served.version), beside)
        for left in history.list_rolled_back():
            if history.recall_content(left).fingerprint == content.fingerprint:
                plan, notes = history.join_older(history.plan_served(served), beside)
                note = (
                    f"{left.name}: version {served.version} stays, since models/ has version {left.version}, which "
                    "was rolled back: change the model to serve it anew"
                )
                return plan, [*notes, note]
    carried = [*history.list_older(keep - 1), served] if keep and served is not None else history.list_older(keep)
    plan, notes = history.join_older(content.lay_out(history.newest + 1), carried)
    return plan, [*damaged, *notes]


def repeat_version(history: VersionHistory) -> tuple[Plan, list[str]]:
    """Plan the served version as it lies in the repository, with its older ones, as `assign_version` left them."""
    entry = history.served
    assert entry is not None, "there is no version to repeat"
    files = dict(history.built.list_version_files(entry))
    files |= {config_path(name): history.built.find_file(config_path(name)) for name in entry.folders}
    beside = [*history.list_older(entry.spec.versions - 1), *history.list_rolled_back()]
    return history.join_older(Plan((entry,), files), beside)


def restore_version(name: str, built: BuiltRepository) -> Plan:
    """Plan a model's version before the served one, which is kept above it. Raises ConfigError, RepositoryError."""
    history = VersionHistory(name, built)
    served = history.find_served()
    if history.served is None:
        raise ConfigError(f"{name}: no model of the repository has this name{nearest(name, built.served)}")
    if served is None:
        raise RepositoryError(f"{name}: its config.pbtxt is damaged: build it anew with `schwift build-repo`")
    below = history.list_older(keep=1)
    if not below:
        raise ConfigError(
            f"{name}: the repository has no version before {served.version}: it keeps as many as the model's "
            f"`versions: {served.entry.spec.versions}` says, the served one among them"
        )
    _, damaged = history.join_older(Plan((), {}), below)
    if damaged:
        raise RepositoryError(damaged[0])
    others = [item for item in built.list_older(name) if item.version != below[0].version]
    plan, _ = history.join_older(history.plan_served(below[0]), [*others, served])
    return plan


def carry_over(built: BuiltRepository, names: Iterable[str]) -> Plan:
    """Plan these models and all their versions as they were built before."""
    wanted = sorted(set(names))
    folders = {folder for name in wanted for folder in VersionHistory(name, built).names}
    files = {path: file for folder in sorted(folders) for path, file in built.list_all_files(folder).items()}
    return Plan(
        tuple(built.served[name] for name in wanted if name in built.served),
        read_files(files),
        tuple(item for name in wanted for item in built.list_older(name)),
    )


def _drop_number(path: str) -> str:
    name, _, inner = path.split("/", 2)
    return f"{name}/{inner}"
