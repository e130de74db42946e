"""One build from end to end: discover → inspect → plan → compare → write."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converter import writer
from converter.artifacts import inspect_all
from converter.discover import ModelSource, check_names, discover
from converter.errors import ConfigError
from converter.libraries import set_apart
from converter.plan import BuildOptions, Plan, make_plan, wake_key_path
from converter.spec.manifest import Manifest, ModelEntry

_KEY_BYTES = 16
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
) -> Build:
    """Build the repository of `models` at `output`; with `check`, only say what would change.

    With `only`, the other models stay in the repository as they were built before. With `skip_missing`, a model
    whose library is not installed is left out, and a note says so. Raises ConfigError and RepositoryError; either
    leaves the repository as it was.
    """
    discovery = discover(models)
    check_names(only, discovery)
    sources = tuple(source for source in discovery.sources if not only or source.spec.name in only)
    left_out: tuple[str, ...] = ()
    if skip_missing:
        sources, left_out = set_apart(sources)
        if not sources:
            raise ConfigError(left_out)
    old = writer.existing(output, tolerant=not only)
    kept = _kept(old, output, only)
    notes = [*discovery.passed_over, *left_out]
    for source in sources:
        if source.spec.instances > options.cores:
            notes.append(
                f"{source.config}: {source.spec.instances} instances on {options.cores} cores: each runs one thread"
            )
    with tempfile.TemporaryDirectory(prefix="schwift-build-") as scratch:
        facts = inspect_all(sources, Path(scratch), options.cores)
        plan = make_plan(sources, facts, options, _wake_keys(old, output, sources), kept)
        manifest = plan.manifest(writer.digests(plan))
        changes = writer.compare(old, manifest)
        if changes and not check:
            writer.write(plan, manifest, output)
    built = tuple(entry for entry in manifest.models if not only or entry.name in only)
    return Build(manifest, built, changes, tuple(notes))


def _wake_keys(old: Manifest | None, output: Path, sources: Sequence[ModelSource]) -> dict[str, str]:
    """Those of the repository that is there, and random ones for new models."""
    keys: dict[str, str] = {}
    for source in sources:
        name = source.spec.name
        path = wake_key_path(name)
        known = old is not None and path in old.files
        keys[name] = (_read_key(output / path) if known else None) or secrets.token_hex(_KEY_BYTES)
    return keys


def _read_key(path: Path) -> str | None:
    """None where it is gone or damaged."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return key if _KEY.fullmatch(key) else None


def _kept(old: Manifest | None, output: Path, only: Sequence[str]) -> Plan | None:
    """The models that `--model` leaves alone, as files of the build that is there."""
    if not only or old is None:
        return None
    entries = tuple(entry for entry in old.models if entry.name not in only)
    folders = {name for entry in entries for name in entry.triton_models}
    clash = folders & {name for wanted in only for name in (wanted, f"{wanted}_direct")}
    if clash:
        raise ConfigError(f"--model: {', '.join(sorted(clash))} belongs to another model of the repository")
    root = output.resolve()
    return Plan(entries, {name: root / name for name in old.files if name.split("/")[0] in folders})
