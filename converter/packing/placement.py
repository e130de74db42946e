"""Which models share a process: those of one pack, in one environment, with one rhythm."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from converter.errors import ConfigError
from converter.repository.plan import BuildOptions, decide_instances, list_preferred
from converter.schema.fields.scheduling import DEFAULT_PACK
from converter.schema.manifest import DIRECT_SUFFIX, PACK_SUFFIX, ModelEntry
from converter.schema.model import ENDPOINTS, ModelSpec, QueueSpec
from converter.schema.settings import Settings
from converter.schema.wire import OWN_ENVIRONMENT

# So much of an environment's key is in the name of a pack that is there for several environments.
_KEY_CHARACTERS = 8
# So much of the digest of a rhythm that is not the pack's. The letter before them is in no environment's key.
_RHYTHM_CHARACTERS = 7
_MOST_NAMED = 5
_Kept = defaultdict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Packable:
    """A model that may be packed; `config` is its file as users see it, `own_code` and `environment` as in its facts.

    `environment` is the key of an environment of its own.
    """

    config: str
    spec: ModelSpec
    own_code: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Placement:
    """The host of each packed model, by the model's name, and notes for the user on those that stay isolated."""

    hosts: Mapping[str, str]
    notes: tuple[str, ...] = ()


class _Group(NamedTuple):
    """Models of a pack in one environment; `rhythm` is empty, or the digest of one that is unlike the pack's."""

    pack: str
    environment: str | None
    rhythm: str = ""

    @property
    def name(self) -> str:
        """The pack's name, with what tells its groups apart."""
        key = f"-{self.environment[:_KEY_CHARACTERS]}" if self.environment else ""
        return f"{self.pack}{self.rhythm}{key}"

    @property
    def host(self) -> str:
        """The Triton model that holds the models of the group."""
        return f"{self.name}{PACK_SUFFIX}{DIRECT_SUFFIX}"


# What a front's batcher and a process do for all models that share them: by the key that says it.
_RHYTHM: Mapping[str, Callable[[ModelSpec, BuildOptions], Any]] = {
    "max_batch_delay_ms": lambda spec, options: spec.max_batch_delay_ms,
    "preferred_batch_size": lambda spec, options: list_preferred(spec, options.settings),
    "max_batch_size": lambda spec, options: spec.max_batch_size or max(list_preferred(spec, options.settings)),
    "rush_batch_size": lambda spec, options: spec.rush_batch_size or max(list_preferred(spec, options.settings)),
    "queue": lambda spec, options: spec.queue,
    "endpoints": lambda spec, options: tuple(sorted(spec.endpoints)),
    "instances": lambda spec, options: decide_instances(spec, options),
}


def place_models(
    candidates: Sequence[Packable], options: BuildOptions, carried: Iterable[ModelEntry] = ()
) -> Placement:
    """Decide which of these models share a process; `carried` are packed already and stay where they are.

    Raises ConfigError for a model that asks for a pack and brings code of its own.
    """
    groups: defaultdict[_Group, list[Packable]] = defaultdict(list)
    kept: _Kept = defaultdict(list)
    problems = []
    for candidate in candidates:
        spec = candidate.spec
        pack = (DEFAULT_PACK if options.settings.pack == "libraries" else False) if spec.pack is None else spec.pack
        if not pack:
            continue
        if candidate.own_code:
            if spec.pack is not None:
                problems.append(
                    f"{candidate.config}: model.pack: {candidate.own_code}, and a pack is for models of known "
                    "libraries alone: remove it"
                )
            continue
        keys = [key for key in ("caching", "priority", "triton") if getattr(spec, key)]
        if keys:
            kept[pack, " and ".join(keys)].append(spec.name)
        else:
            groups[_Group(pack, _find_environment(candidate, options.settings))].append(candidate)
    if problems:
        raise ConfigError(problems)
    there: defaultdict[str, list[ModelSpec]] = defaultdict(list)
    for entry in carried:
        there[entry.host or ""].append(entry.spec)
    hosts: dict[str, str] = {}
    notes: list[str] = []
    placed: list[_Group] = []
    for group, members in groups.items():
        for fitting, items in _split_by_rhythm(group, members, there, options, kept, notes):
            placed.append(fitting)
            # A pack of one is a pack only if somebody asks for it.
            if len(items) + len(there[fitting.host]) > 1 or any(item.spec.pack is not None for item in items):
                hosts |= {item.spec.name: fitting.host for item in items}
    if problems := _find_twins(placed):
        raise ConfigError(problems)
    return Placement(hosts, (*(_format_kept(*key, names) for key, names in sorted(kept.items())), *sorted(notes)))


def _find_environment(candidate: Packable, settings: Settings) -> str | None:
    if candidate.spec.backend == "onnx":
        # It runs in the ONNX Runtime that read it, in whatever environment the others do.
        return None if settings.model_env is None else OWN_ENVIRONMENT
    return candidate.environment


def _find_twins(groups: Iterable[_Group]) -> list[str]:
    """Find two groups whose host would have one name."""
    owners: dict[str, _Group] = {}
    return [
        f"pack: {group.pack}: the pack {owners[group.host].pack} has that name in one of its environments, or for "
        "models with other batch settings: rename it"
        for group in groups
        if owners.setdefault(group.host, group) != group
    ]


def _split_by_rhythm(
    group: _Group,
    members: Sequence[Packable],
    there: Mapping[str, Sequence[ModelSpec]],
    options: BuildOptions,
    kept: _Kept,
    notes: list[str],
) -> Iterator[tuple[_Group, Sequence[Packable]]]:
    """Yield the members with the pack's rhythm: the settings' own, or if it has a name, that of most members.

    Several of the pack `default` that have one of their own in common are a group too, and a note says so. Others go to
    `kept`, under the keys that say so.
    """
    by_rhythm: defaultdict[tuple[Any, ...], list[Packable]] = defaultdict(list)
    for item in members:
        by_rhythm[_read_rhythm(item.spec, options)].append(item)
    if group.pack == DEFAULT_PACK:
        usual = _usual_rhythm(options)
    else:
        counts = Counter(_read_rhythm(spec, options) for spec in there.get(group.host, ()))
        counts.update({rhythm: len(items) for rhythm, items in by_rhythm.items()})
        usual = counts.most_common(1)[0][0]
    yield group, by_rhythm.pop(usual, [])
    for rhythm, items in by_rhythm.items():
        differing = [key for key, mine, its in zip(_RHYTHM, rhythm, usual, strict=True) if mine != its]
        apart = group._replace(rhythm=_digest_rhythm(rhythm))
        if group.pack == DEFAULT_PACK and len(items) + len(there.get(apart.host, ())) > 1:
            names = format_names([item.spec.name for item in items])
            notes.append(f"pack {apart.name}: apart from pack {group.name} by {_name_keys(differing, items)}: {names}")
            yield apart, items
            continue
        for item in items:
            kept[group.pack, _name_keys(differing, [item])].append(item.spec.name)


def _read_rhythm(spec: ModelSpec, options: BuildOptions) -> tuple[Any, ...]:
    return tuple(read(spec, options) for read in _RHYTHM.values())


def _digest_rhythm(rhythm: tuple[Any, ...]) -> str:
    """Return what tells a pack of this rhythm from others, in its name."""
    text = json.dumps(rhythm, default=lambda value: value.model_dump(mode="json", exclude_defaults=True))
    return f"-r{hashlib.sha256(text.encode()).hexdigest()[:_RHYTHM_CHARACTERS]}"


def _name_keys(differing: Sequence[str], items: Sequence[Packable]) -> str:
    """Name the keys by which models differ; a size that follows from another one is not what the user has to change."""
    written = {key for item in items for key in item.spec.model_fields_set}
    return " and ".join([key for key in differing if key in written] or differing)


def _usual_rhythm(options: BuildOptions) -> tuple[Any, ...]:
    rows = options.settings.max_batch_size
    return (10, (rows,), rows, rows, QueueSpec(), tuple(sorted(ENDPOINTS)), 1)


def _format_kept(pack: str, keys: str, names: list[str]) -> str:
    return f"pack {pack}: kept out by {keys}, each in a process of its own: {format_names(names)}"


def format_names(names: Sequence[str]) -> str:
    """List names, and of many the first."""
    listed = sorted(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more
