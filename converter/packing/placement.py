"""Which models share a process: those of one pack, in one environment, with one rhythm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from converter.errors import ConfigError
from converter.repository.plan import BuildOptions, decide_instances, list_preferred
from converter.schema.fields.scheduling import DEFAULT_PACK
from converter.schema.manifest import DIRECT_SUFFIX, PACK_SUFFIX, ModelEntry
from converter.schema.model import ENDPOINTS, ModelSpec, QueueSpec
from converter.schema.settings import Settings
from converter.schema.wire import OWN_ENVIRONMENT

# Of an environment's key, in the name of a pack that is there for several environments.
_KEY_CHARACTERS = 8
_MOST_NAMED = 5


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
    pack: str
    environment: str | None

    @property
    def host(self) -> str:
        """The Triton model that holds the models of the group."""
        key = f"-{self.environment[:_KEY_CHARACTERS]}" if self.environment else ""
        return f"{self.pack}{key}{PACK_SUFFIX}{DIRECT_SUFFIX}"


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
    kept: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
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
    problems += _find_twins(groups)
    if problems:
        raise ConfigError(problems)
    there: defaultdict[str, list[ModelSpec]] = defaultdict(list)
    for entry in carried:
        there[entry.host or ""].append(entry.spec)
    hosts: dict[str, str] = {}
    for group, members in groups.items():
        fitting = _keep_rhythm(group, members, there[group.host], options, kept)
        # A pack of one is a pack only if somebody asks for it.
        if len(fitting) + len(there[group.host]) > 1 or any(item.spec.pack is not None for item in fitting):
            hosts |= {item.spec.name: group.host for item in fitting}
    return Placement(hosts, tuple(_format_kept(*key, names) for key, names in sorted(kept.items())))


def _find_environment(candidate: Packable, settings: Settings) -> str | None:
    if candidate.spec.backend == "onnx":
        # It runs in the ONNX Runtime that read it, in whatever environment the others do.
        return None if settings.model_env is None else OWN_ENVIRONMENT
    return candidate.environment


def _find_twins(groups: Iterable[_Group]) -> list[str]:
    """Find two groups whose host would have one name."""
    owners: dict[str, _Group] = {}
    return [
        f"pack: {group.pack}: the pack {owners[group.host].pack} has that name in one of its environments: rename it"
        for group in groups
        if owners.setdefault(group.host, group) != group
    ]


def _keep_rhythm(
    group: _Group,
    members: Sequence[Packable],
    carried: Sequence[ModelSpec],
    options: BuildOptions,
    kept: defaultdict[tuple[str, str], list[str]],
) -> list[Packable]:
    """Return the members with the pack's rhythm: the settings' own, or if it has a name, that of most members.

    Those with another go to `kept`, under the keys that say so.
    """
    rhythms = [tuple(read(item.spec, options) for read in _RHYTHM.values()) for item in members]
    if group.pack == DEFAULT_PACK:
        usual = _usual_rhythm(options)
    else:
        others = [tuple(read(spec, options) for read in _RHYTHM.values()) for spec in carried]
        usual = Counter([*others, *rhythms]).most_common(1)[0][0]
    fitting = []
    for item, rhythm in zip(members, rhythms, strict=True):
        if rhythm == usual:
            fitting.append(item)
            continue
        written = item.spec.model_fields_set
        differing = [key for key, mine, its in zip(_RHYTHM, rhythm, usual, strict=True) if mine != its]
        # A size that follows from another that the config has is not what the user has to change.
        named = [key for key in differing if key in written] or differing
        kept[group.pack, " and ".join(named)].append(item.spec.name)
    return fitting


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
