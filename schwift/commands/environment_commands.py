"""`schwift env build | list | prune`: the environments in the cache, and which models use them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from converter.build import print_progress
from converter.environments.environment_store import EnvironmentStore, StoredEnvironment
from converter.environments.fronts import find_fronts
from converter.environments.model_environment import list_used_keys
from converter.errors import ConfigError
from converter.inspect.discover import discover
from converter.inspect.inspector import inspect_all
from converter.inspect.model_environments import ModelEnvironments
from converter.repository.lock import lock_for_reading
from converter.schema.manifest import ALONE_SUFFIX, DIRECT_SUFFIX
from converter.schema.model import PICKLES
from converter.schema.settings import Settings
from converter.table import format_table

_MIB = 1024 * 1024


def build_environments(settings: Settings) -> str:
    """Make the environments of all models in the folder of the models, and say which there are. Raises ConfigError."""
    environments = ModelEnvironments(settings, print_progress)
    sources = environments.prepare(discover(settings.model_directory, settings.model_links).sources)
    found = {source.spec.name: source.environment for source in sources}
    # Only these say more in their files; what else is wrong with a model is for its build to say.
    pickles = tuple(source for source in sources if source.spec.backend in PICKLES)
    with tempfile.TemporaryDirectory(prefix="schwift-env-") as scratch:
        facts = inspect_all(pickles, Path(scratch), os.cpu_count() or 1, environments, left_out=[])
    found |= {name: each.environment for name, each in facts.items()}
    lines = [
        f"{name}: an environment of its own, {environment.key} (Python {environment.interpreter.version})"
        for name, environment in sorted(found.items())
        if environment is not None and environment.key is not None
    ]
    return "\n".join(lines or ["no model needs an environment of its own"])


def list_environments(settings: Settings) -> str:
    """Format a table of the environments that are there."""
    users = _find_users(settings, [settings.repository])
    rows = [
        [
            each.key,
            each.python if each.usable else f"{each.python} (gone)",
            f"{each.size // _MIB} MiB",
            ", ".join(sorted(users.get(each.key, {"-"}))),
            ", ".join(each.requirements),
        ]
        for each in _open_store(settings).list_all()
    ]
    head = ["KEY", "PYTHON", "SIZE", "USED BY", "REQUIREMENTS"]
    return format_table(head, rows) if rows else f"no environments in {_open_store(settings).root}"


def prune_environments(settings: Settings, repositories: Sequence[Path]) -> str:
    """Remove the environments that these repositories do not use, by default the served one.

    Raises ConfigError, and RepositoryError if a build of one of them does not end.
    """
    asked = [Path(os.path.abspath(path)) for path in repositories] or [settings.repository]
    absent = [path for path in asked if not path.is_dir()]
    if absent:
        raise ConfigError(f"{absent[0]}: no such repository: name with --repository each whose environments are kept")
    with contextlib.ExitStack() as builds:
        # A build makes its environments first, and writes last that it uses them.
        for path in asked:
            builds.enter_context(lock_for_reading(path, print_progress))
        removed = _open_store(settings).prune(lambda: _find_users(settings, asked), print_progress)
    return "\n".join([*map(_describe, removed), f"removed {len(removed)}, {_count_mib(removed)} MiB"])


def _describe(environment: StoredEnvironment) -> str:
    wanted = ", ".join(environment.requirements) or "numpy"
    return f"removed {environment.key}: Python {environment.python} with {wanted}, {environment.size // _MIB} MiB"


def _count_mib(environments: Iterable[StoredEnvironment]) -> int:
    return sum(each.size for each in environments) // _MIB


def _find_users(settings: Settings, repositories: Iterable[Path]) -> Mapping[str, set[str]]:
    users: dict[str, set[str]] = defaultdict(set)
    if (prefix := find_fronts(settings)) is not None:
        users[prefix.name].add("(fronts)")
    for repository in repositories:
        for key, model in list_used_keys(repository):
            users[key].add(model.removesuffix(DIRECT_SUFFIX).removesuffix(ALONE_SUFFIX))
    return users


def _open_store(settings: Settings) -> EnvironmentStore:
    return EnvironmentStore(settings.environments_directory)
