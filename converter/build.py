"""A build: discover → inspect → plan → compare; `repository.writer.commit` writes what was planned."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converter.checking.in_builds import check_build
from converter.environments import fronts
from converter.environments.environment_store import EnvironmentStore
from converter.errors import ConfigError, RepositoryError
from converter.inspect.discover import ModelSource, check_names, discover
from converter.inspect.inspector import ModelFacts, inspect_all
from converter.inspect.model_environments import ModelEnvironments
from converter.inspect.model_folder import check_unchanged
from converter.packing.ensembles import plan_member
from converter.packing.hint import suggest_packs
from converter.packing.hosts import plan_hosts
from converter.packing.placement import Packable, place_models
from converter.repository.build_plan import BuildPlan, complete_plan
from converter.repository.built import BuiltRepository
from converter.repository.content import Plan, is_intact
from converter.repository.current import read_current
from converter.repository.lock import SCRATCH, lock_for_reading, lock_repository
from converter.repository.plan import BuildOptions, plan_model
from converter.repository.recall import Recall
from converter.repository.stamps import describe_context, read_stamps
from converter.repository.version_history import VersionHistory, assign_version, carry_over, restore_version
from converter.schema.manifest import Manifest

_KEY_BYTES = 16
_DOCKER_REMEDY = "(with docker: EXTRAS=<package> docker compose up --build)"


@dataclass(frozen=True)
class Workspace:
    """The path of a repository that nobody else changes meanwhile, and a folder for what is compiled.

    With `read_only` nothing is written beside the models either.
    """

    output: Path
    scratch: Path
    read_only: bool = False


@contextlib.contextmanager
def open_workspace(output: Path, read_only: bool = False) -> Iterator[Workspace]:
    """Keep other builds of a repository waiting: each is planned from what the one before left.

    With `read_only` nothing is written beside the repository. Raises RepositoryError if the lock cannot be had.
    """
    if read_only:
        with lock_for_reading(output), tempfile.TemporaryDirectory(prefix="schwift-build-") as made:
            yield Workspace(output, Path(made), read_only=True)
        return
    with lock_repository(output, tidy=True) as builds:
        # Beside the builds, where the next one removes it if this one is killed.
        scratch = builds / SCRATCH
        try:
            scratch.mkdir()
        except OSError as error:
            raise RepositoryError(f"{output}: the repository could not be written: {error.strerror}") from error
        try:
            yield Workspace(output, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def plan_repository(
    models: Path, options: BuildOptions, old: Workspace, names: Sequence[str] = (), skip_missing: bool = False
) -> BuildPlan:
    """Plan the repository of `models` in place of the old one; nothing is written there but what is compiled.

    Environments that models need are made in the cache.

    With `names`, the other models stay in the repository as they were built before. With `skip_missing`, a model whose
    library is not installed is left out, and a note says so. Raises ConfigError and RepositoryError.
    """
    plan, recalled = _plan_all(models, options, old, names, skip_missing)
    if plan.changes and not all(is_intact(file) for part in recalled for file in part.files.values()):
        # They were taken for what they should be: now that they are copied they have to be.
        without_stamps = BuildOptions(options.settings, options.cores, recall=False)
        plan, _ = _plan_all(models, without_stamps, old, names, skip_missing)
    return plan


def _plan_all(
    models: Path, options: BuildOptions, old: Workspace, names: Sequence[str], skip_missing: bool
) -> tuple[BuildPlan, list[Plan]]:
    """Plan a repository; and return the parts of it that were planned without a look into their models."""
    environments = ModelEnvironments(options.settings, print_progress, not old.read_only)
    manifest = read_current(old.output, tolerant=not names)
    built = BuiltRepository(manifest or Manifest(models=()), old.output.resolve())
    recall = _make_recall(options, environments, built, old.output)
    discovery = discover(models, options.settings.model_links, recall.find_spec if options.recall else None)
    check_names(names, discovery)
    sources = tuple(source for source in discovery.sources if not names or source.spec.name in names)
    notes = list(discovery.passed_over)
    missing: list[str] = []
    new = environments.prepare([source for source in sources if not recall.is_recalled(source.spec.name)])
    facts = inspect_all(new, old.scratch, options.cores, environments, missing if skip_missing else None)
    new = tuple(source for source in new if source.spec.name in facts)
    facts = check_build(new, facts, options, old.scratch)
    notes += [f"left out: {problem} {_DOCKER_REMEDY}" for problem in missing]
    recalled = {source.spec.name: source for source in sources if recall.is_recalled(source.spec.name)}
    if not facts and not recalled:
        raise ConfigError(missing)
    candidates = _list_candidates([*new, *recalled.values()], facts, recall)
    carried = [_carry_others_over(built, names)] if names else []
    placement = place_models(candidates, options, (entry for plan in carried for entry in plan.entries if entry.host))
    if any(built.is_moved(name, placement.hosts.get(name)) for name in recalled):
        # A pack of two needs both, and one that is left alone is none.
        return _plan_all(models, replace(options, recall=False), old, names, skip_missing)
    plans, said = _plan_each([*new, *recalled.values()], facts, recall, options, placement.hosts)
    notes += [*said, *placement.notes]
    packed = any(entry.packs_strings and entry.front for plan in plans.values() for entry in plan.entries)
    if packed and not fronts.can_be_had(options.settings):
        notes.append(fronts.WITHOUT_STRINGS)
    parts = [*plans.values(), *carried]
    whole = complete_plan(old.output, [*parts, plan_hosts(parts, options, built)], manifest, names, notes)
    for source in sources:
        check_unchanged(source.originals)
    stamps = recall.note_folders(new, facts, plans)
    whole = replace(whole, stamps=stamps, hint=suggest_packs(candidates, options))
    return whole, [plans[name] for name in recalled]


def _plan_each(
    sources: Sequence[ModelSource],
    facts: Mapping[str, ModelFacts],
    recall: Recall,
    options: BuildOptions,
    hosts: Mapping[str, str],
) -> tuple[dict[str, Plan], list[str]]:
    """Plan each model under its number, by its name; and say what the user should know."""
    plans: dict[str, Plan] = {}
    notes: list[str] = []
    for source in sorted(sources, key=lambda source: source.spec.name):
        name = source.spec.name
        if name not in facts:
            plans[name], said = recall.plan(name)
        else:
            plans[name], said = _plan_versions(source, facts[name], options, recall.built, hosts.get(name))
            notes += facts[name].notes
        notes += said
    return plans, notes


def _list_candidates(sources: Sequence[ModelSource], facts: Mapping[str, ModelFacts], recall: Recall) -> list[Packable]:
    """List what packs go by, in the order of names, of models that were looked into and of recalled ones."""
    found = []
    for source in sorted(sources, key=lambda source: source.spec.name):
        name = source.spec.name
        if name in facts:
            environment = facts[name].environment
            known = facts[name].own_code, environment.key if environment else None
        else:
            stamp = recall.stamp_of(name)
            known = stamp.own_code, stamp.environment
        found.append(Packable(source.config, source.spec, *known))
    return found


def _make_recall(
    options: BuildOptions, environments: ModelEnvironments, built: BuiltRepository, output: Path
) -> Recall:
    context = describe_context(options.settings, options.cores, environments.serving.interpreter)
    store = EnvironmentStore(options.settings.environments_directory)
    return Recall(read_stamps(output), context, built, store)


def plan_rollback(name: str, old: Workspace, options: BuildOptions) -> BuildPlan:
    """Plan to serve the version of a model before the served one. Raises ConfigError and RepositoryError."""
    manifest = read_current(old.output)
    if manifest is None:
        raise RepositoryError(f"{old.output}: nothing is built here: `schwift build-repo` builds")
    built = BuiltRepository(manifest, old.output.resolve())
    plans = [restore_version(name, built), carry_over(built, (other for other in built.served if other != name))]
    return complete_plan(old.output, [*plans, plan_hosts(plans, options, built)], manifest, [name])


def print_progress(text: str) -> None:
    """Say how far a build is, where its result is not."""
    print(text, file=sys.stderr, flush=True)


def _plan_versions(
    source: ModelSource, facts: ModelFacts, options: BuildOptions, built: BuiltRepository, host: str | None
) -> tuple[Plan, list[str]]:
    """Plan a model under its number, in a host or isolated, with its older versions; and say what there is to know."""
    history = VersionHistory(source.spec.name, built)
    if host is not None:
        return assign_version(history, plan_member(source, facts, options, host))
    wake_key = history.read_wake_key() or secrets.token_hex(_KEY_BYTES)
    return assign_version(history, plan_model(source, facts, options, wake_key))


def _carry_others_over(built: BuiltRepository, names: Sequence[str]) -> Plan:
    """Plan the models that `--model` leaves alone, as files of the build that is there."""
    plan = carry_over(built, (name for name in built.served if name not in names))
    folders = {path.split("/")[0] for path in plan.files}
    clash = folders & {name for wanted in names for name in (wanted, f"{wanted}_direct")}
    if clash:
        raise ConfigError(f"--model: {', '.join(sorted(clash))} belongs to another model of the repository")
    return plan
