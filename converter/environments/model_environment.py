"""Where a model runs: in the environment that serves all models, or in one of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converter.environments.interpreter import Interpreter, examine_interpreter, own_interpreter
from converter.environments.lock_file import is_key
from converter.errors import EnvironmentProblem
from converter.schema.settings import Settings
from converter.schema.wire import ENVIRONMENT_FILE


@dataclass(frozen=True)
class ModelEnvironment:
    """An interpreter; `key` and `lock` are those of an environment of the model's own, in the store."""

    interpreter: Interpreter
    key: str | None = None
    lock: tuple[str, ...] = ()

    def to_file(self) -> bytes:
        """Write what stands in the repository of an environment of its own."""
        return "".join(f"{line}\n" for line in (self.key, *self.lock)).encode()

    def find_version(self, distribution: str) -> str | None:
        """Return the version of a package; None if it is not there."""
        return self.interpreter.packages.get(distribution)


def find_serving_environment(settings: Settings) -> ModelEnvironment:
    """Find where models run that have no environment of their own. Raises EnvironmentProblem with the remedy."""
    if settings.model_env is None:
        return ModelEnvironment(own_interpreter())
    interpreter = examine_interpreter(settings.model_env)
    if "numpy" not in interpreter.packages:
        raise EnvironmentProblem(f"{settings.model_env}: numpy is not installed there, and models need it: install it")
    return ModelEnvironment(interpreter)


def list_used_keys(repository: Path) -> Iterator[tuple[str, str]]:
    """List the keys of a repository's environments, each with the model whose version it is; older versions too."""
    for file in sorted(repository.glob(f"*/*/{ENVIRONMENT_FILE}")):
        key = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if is_key(key):
            yield key, file.parent.parent.name


def format_packages(environment: ModelEnvironment, names: Iterable[str]) -> str:
    """Say the Python and the versions of some packages, those that are there."""
    said = [f"Python {environment.interpreter.version}"]
    said += [f"{name} {version}" for name in names if (version := environment.find_version(name)) is not None]
    return ", ".join(said)
