"""One build from end to end: discover → inspect → plan → compare → write."""

from __future__ import annotations

import contextlib
import math
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.errors import ConfigError, RepositoryError
from converter.inspect.discover import ModelSource, check_names, discover
from converter.inspect.inspector import ModelFacts, inspect_all
from converter.inspect.model_folder import check_unchanged
from converter.repository import version_history, writer
from converter.repository.lock import SCRATCH, locked, reading
from converter.repository.plan import BuildOptions, Plan, join_plans, plan_model
from converter.schema.manifest import Manifest, ModelEntry
from converter.schema.wire import wake_key_path

_KEY_BYTES = 16
_DOCKER_REMEDY = "(with docker: EXTRAS=<package> docker compose up --build)"
_KEY = re.compile(rf"[0-9a-f]{{{2 * _KEY_BYTES}}}")


@dataclass(frozen=True)
class Build:
    """What a build found, and what it changed or would change. `built` are the models that it made."""

    manifest: Manifest
    built: tuple[ModelEntry, ...]
    changes: writer.Changes
    notes: tuple[str, ...]


def build_repository(
    models: Path,
    output: Path,
    options: BuildOptions,
    only: Sequence[str] = (),
    check: bool = False,
    skip_missing: bool = False,
    write: writer.Write = writer.write,
) -> Build:
    """Build the repository of `models` at `output`; with `check`, only say what would change.

    Other builds of it wait meanwhile: each is made of what the one before left. With `only`, the other models stay in
    the repository as they were built before. With `skip_missing`, a model whose library is not installed is left out,
    and a note says so. `write` gets the plan where something changes.
    Raises ConfigError and RepositoryError; either leaves the repository as it was.
    """
    with reading(output) if check else locked(output, tidy=True) as builds, _scratch(builds) as scratch:
        return _build(models, output, options, only, check, skip_missing, write, scratch)


def _build(
    models: Path,
    output: Path,
    options: BuildOptions,
    only: Sequence[str],
    check: bool,
    skip_missing: bool,
    write: writer.Write,
    scratch: Path,
) -> Build:
    discovery = discover(models, options.model_links)
    check_names(only, discovery)
    sources = tuple(source for source in discovery.sources if not only or source.spec.name in only)
    old = writer.existing(output, tolerant=not only)
    kept = _kept(old, output, only)
    notes = [*discovery.passed_over, *(note for source in sources for note in _notes(source, options))]
    left_out: list[str] = []
    facts = inspect_all(sources, scratch, options.cores, left_out if skip_missing else None)
    sources = tuple(source for source in sources if source.spec.name in facts)
    if not sources:
        raise ConfigError(left_out)
    notes += [f"left out: {problem} {_DOCKER_REMEDY}" for problem in left_out]
    before = old or Manifest(models=())
    notes += [note for name in sorted(facts) for note in facts[name].notes]
    plans, said = _plans(sources, facts, options, before, output.resolve())
    plan = join_plans([*plans, *kept])
    manifest = plan.manifest(writer.digests(plan), before.numbers)
    for source in sources:
        check_unchanged(source.originals)
    changes = writer.compare(old, manifest)
    if changes and not check:
        write(plan, manifest, output)
    built = tuple(entry for entry in manifest.models if not only or entry.name in only)
    return Build(manifest, built, changes, (*notes, *said))


def _notes(source: ModelSource, options: BuildOptions) -> Iterator[str]:
    """What the config and the settings make of each other."""
    spec = source.spec
    if spec.instances > options.cores:
        yield f"{source.config}: {spec.instances} instances on {options.cores} cores: each runs one thread"
    # Each value is a digit and what stands behind it, at least.
    least = 2 * sum(math.prod(map(abs, tensor.row_dims)) for tensor in spec.input)
    if options.max_body_bytes is not None and least > options.max_body_bytes:
        yield (
            f"{source.config}: one row of model.input is at least {least} bytes of JSON, so no request has room "
            f"for it: set SCHWIFT_MAX_BODY_BYTES, which is {options.max_body_bytes}, higher"
        )


@contextlib.contextmanager
def _scratch(builds: Path | None) -> Iterator[Path]:
    """A folder for what is compiled: beside the builds, where the next one removes it if this one is killed."""
    if builds is None:
        with tempfile.TemporaryDirectory(prefix="schwift-build-") as made:
            yield Path(made)
        return
    folder = builds / SCRATCH
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def roll_back(output: Path, name: str, write: writer.Write = writer.write) -> Build:
    """Serve the version of a model before the one that is served. ConfigError where there is none."""
    with locked(output):
        return _roll_back(output, name, write)


def _roll_back(output: Path, name: str, write: writer.Write) -> Build:
    old = writer.existing(output)
    if old is None:
        raise RepositoryError(f"{output}: nothing is built here: `schwift build-repo` builds")
    root = output.resolve()
    others = [entry.name for entry in old.models if entry.name != name]
    plan = join_plans([version_history.rolled_back(name, old, root), version_history.carry_over(old, root, others)])
    manifest = plan.manifest(writer.digests(plan), old.numbers)
    write(plan, manifest, output)
    built = tuple(entry for entry in manifest.models if entry.name == name)
    return Build(manifest, built, writer.compare(old, manifest), ())


def _plans(
    sources: Sequence[ModelSource], facts: Mapping[str, ModelFacts], options: BuildOptions, old: Manifest, root: Path
) -> tuple[list[Plan], list[str]]:
    """Each model's versions; and notes for the user."""
    plans, notes = [], []
    for source in sources:
        name = source.spec.name
        shelf = version_history.VersionHistory(name, old, root)
        key = _wake_key(shelf, root)

        def plan_at(version: int, source: ModelSource = source, key: str = key) -> Plan:
            return plan_model(source, facts[source.spec.name], options, key, version)

        plan, said = version_history.assign_version(shelf, plan_at)
        plans.append(plan)
        notes += said
    return plans, notes


def _wake_key(shelf: version_history.VersionHistory, root: Path) -> str:
    """That of the version that is there, and a random one for a new model."""
    served = shelf.served
    known = _read_key(root / wake_key_path(served.front, served.version)) if served and served.front else None
    return known or secrets.token_hex(_KEY_BYTES)


def _read_key(path: Path) -> str | None:
    """None where it is gone or damaged."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return key if _KEY.fullmatch(key) else None


def _kept(old: Manifest | None, output: Path, only: Sequence[str]) -> list[Plan]:
    """The models that `--model` leaves alone, as files of the build that is there."""
    if not only or old is None:
        return []
    plan = version_history.carry_over(
        old, output.resolve(), (entry.name for entry in old.models if entry.name not in only)
    )
    folders = {name.split("/")[0] for name in plan.files}
    clash = folders & {name for wanted in only for name in (wanted, f"{wanted}_direct")}
    if clash:
        raise ConfigError(f"--model: {', '.join(sorted(clash))} belongs to another model of the repository")
    return [plan]
