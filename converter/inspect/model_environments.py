"""Where each model of a build runs: `requirements` and `python` first, then what its pickle was made with.

Environments are made here, in the build's own process, one after the other. A pickle is served in the serving
environment if that has the versions which made it, else in an environment that the pickle names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from converter.environments.engine import find_engine
from converter.environments.environment_store import EnvironmentStore
from converter.environments.interpreter import examine_interpreter, find_pythons
from converter.environments.lock_file import hash_request, list_lacking, read_lock, write_lock
from converter.environments.model_environment import ModelEnvironment, find_serving_environment, format_packages
from converter.environments.pip_install import PipFailed
from converter.environments.requirement_lines import read_requirements
from converter.errors import ArtifactError, ConfigError, EnvironmentProblem
from converter.inspect.discover import ModelSource
from converter.inspect.pickle_versions import UnknownPackage, describe_origin, find_skew, name_requirements
from converter.inspect.requirements import list_own_modules
from converter.schema.model import LOCK_NAME, PICKLES, nearest
from converter.schema.requirement import name_of
from converter.schema.settings import Settings
from converter.trust.operator_trust import read_trust
from converter.trust.pickle_reader import Contents

Say = Callable[[str], None]


class _CannotMake(Exception):
    """No environment could be made, for a reason that is said."""


class ModelEnvironments:
    """The environments of one build's models; with `write_locks` the packages are noted beside each model.

    They also know what the operator says of pickles.
    """

    def __init__(self, settings: Settings, say: Say, write_locks: bool = True) -> None:
        self._settings = settings
        self._say = say
        self._write_locks = write_locks
        self._trust = read_trust(settings)
        self._store = EnvironmentStore(settings.environments_directory)

    @functools.cached_property
    def serving(self) -> ModelEnvironment:
        """Where models run that have no environment of their own."""
        return find_serving_environment(self._settings)

    @functools.cached_property
    def _pythons(self) -> Mapping[str, Path]:
        """The Pythons of this machine that models can run in; if a Triton is here, under it."""
        serving = self.serving.interpreter
        found = {serving.version: serving.executable, **find_pythons()}
        engine = find_engine(self._settings)
        return (
            found if engine is None else {version: path for version, path in found.items() if version in engine.stubs}
        )

    def prepare(self, sources: Sequence[ModelSource]) -> tuple[ModelSource, ...]:
        """Give each model the environment that its config asks for, or the serving one. Raises ConfigError."""
        problems: list[str] = []
        prepared = []
        for source in sources:
            try:
                prepared.append(replace(self._prepare(source), trust=self._trust))
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        return tuple(prepared)

    def settle(self, source: ModelSource, contents: Contents) -> tuple[ModelEnvironment, tuple[str, ...]]:
        """Find where a pickle runs, and say what is to be known of it. Raises ArtifactError if it may not be served."""
        spec = source.spec
        environment = source.environment or self.serving
        skew = find_skew(contents, environment)
        name, origin = spec.name, describe_origin(contents)
        if not skew and spec.python in (None, environment.interpreter.version):
            return environment, ()
        if spec.accept_skew and spec.python in (None, environment.interpreter.version):
            there = " and ".join(skew)
            return environment, (
                f"{name}: made for {origin}, and served with {there} as accept_skew says: its answers may differ",
            )
        if spec.environment == "serving" or environment.key is not None:
            self._refuse_skew(source, contents, skew, "")
        try:
            environment = self._make_for_pickle(source, contents)
        except _CannotMake as error:
            if not skew:
                raise ArtifactError(f"{source.config}: model.python: {error}") from error
            self._refuse_skew(source, contents, skew, str(error))
        packages = format_packages(environment, ("scikit-learn", "numpy"))
        made = f"made for {origin}: " if origin else ""
        return environment, (f"{name}: {made}served in an environment of its own ({packages})",)

    def _prepare(self, source: ModelSource) -> ModelSource:
        spec = source.spec
        if spec.backend == "onnx":
            return source
        lines = self._read_requirements(source)
        version = self._check_python(source)
        if lines is None and (spec.backend in PICKLES or version == self.serving.interpreter.version):
            return replace(source, environment=self.serving)
        wanted = list(lines or ())
        if spec.backend in PICKLES and "joblib" not in map(name_of, wanted):
            # What reads the file.
            wanted.append("joblib")
        try:
            return replace(source, environment=self._make(source, tuple(wanted), version))
        except _CannotMake as error:
            key = "python" if lines is None else "requirements"
            hint = f": change it, or name another Python ({self._list_pythons()})" if _lacks_wheels(error) else ""
            raise EnvironmentProblem(f"{source.config}: model.{key}: {error}{hint}") from error

    def _read_requirements(self, source: ModelSource) -> tuple[str, ...] | None:
        wanted = source.spec.requirements
        if not isinstance(wanted, str):
            return wanted
        if wanted not in source.files:
            raise ConfigError(
                f"{source.config}: model.requirements: {wanted} is not beside this file{nearest(wanted, source.files)}:"
                f" name a file of this folder, or write a list, as in [{wanted}]"
            )
        return read_requirements(source.path_of(wanted), f"{source.folder.name}/{wanted}")

    def _check_python(self, source: ModelSource) -> str:
        """Return the Python that a config asks for, else that of the serving environment."""
        version = source.spec.python or self.serving.interpreter.version
        if source.spec.python and version not in self._pythons:
            raise EnvironmentProblem(
                f"{source.config}: model.python: there is no Python {version} here with venv and libpython, only "
                f"{self._list_pythons()}: install it (apt-get install python{version}-venv libpython{version}, or "
                f"pyenv install {version} with PYTHON_CONFIGURE_OPTS=--enable-shared), or name one of these"
            )
        return version

    def _list_pythons(self) -> str:
        return ", ".join(sorted(self._pythons, key=_number))

    def _make_for_pickle(self, source: ModelSource, contents: Contents) -> ModelEnvironment:
        """Make the environment that a pickle names, of the newest Python that has all of it as wheels."""
        own = list_own_modules(source)
        try:
            wanted = [name_requirements(contents, own, exact) for exact in (True, False)]
        except UnknownPackage as error:
            raise _CannotMake(
                f"which package has the module {error} is not known: name it in model.requirements"
            ) from error
        versions = [source.spec.python] if source.spec.python else sorted(self._pythons, key=_number, reverse=True)
        choices = [(lines, version) for lines in dict.fromkeys(wanted) for version in versions]
        locks = {choice: read_lock(source.folder, hash_request(*choice)) for choice in choices}
        locked = [choice for choice in choices if locks[choice]]
        made = [c for c in choices if self._store.look_up(*c, locks[c]) or self._store.find_fitting(*c)]
        reason = "no Python of this machine is one that its Triton runs models under"
        for lines, version in locked or made or choices:
            try:
                return self._make(source, lines, version, fitting=True)
            except _CannotMake as error:
                reason = str(error)
                if not _lacks_wheels(error):
                    break
        raise _CannotMake(reason)

    def _make(
        self, source: ModelSource, lines: tuple[str, ...], version: str, fitting: bool = False
    ) -> ModelEnvironment:
        """Find an environment, or make it. Raises _CannotMake with the reason.

        With `fitting`, one that was made for other requirements does, unless there is a lock. Raises ConfigError for a
        lock of other packages.
        """
        request = hash_request(lines, version)
        lock = read_lock(source.folder, request)
        if lock and (lacking := list_lacking(lines, lock)):
            raise EnvironmentProblem(
                f"{source.folder.name}/{LOCK_NAME}: it does not have {', '.join(lacking)}, which it is said to be of: "
                "remove it, and the build makes it anew"
            )
        key = self._store.look_up(lines, version, lock)
        if key is None and fitting and not lock:
            key = self._store.find_fitting(lines, version)
        if key is None:
            if self._settings.environments == "off":
                raise _CannotMake("it is not there, and SCHWIFT_ENVIRONMENTS=off makes none: set it to on")
            said = ", ".join(lines) or "numpy"
            self._say(f"{source.spec.name}: making an environment of Python {version} with {said}")
            try:
                key, lock = self._store.build(lines, (version, self._pythons[version]), lock, self._say)
            except PipFailed as error:
                hint = f" (of {LOCK_NAME}, which may be removed)" if lock else ""
                raise _CannotMake(f"Python {version}: {error}{hint}") from error
            except EnvironmentProblem as error:
                raise _CannotMake(str(error)) from error
        lock = self._store.read_lock(key)
        if self._write_locks:
            write_lock(source.folder, request, lock)
        return ModelEnvironment(examine_interpreter(self._store.root / key, bare=True), key, lock)

    def _refuse_skew(self, source: ModelSource, contents: Contents, skew: Sequence[str], reason: str) -> NoReturn:
        """Say what a pickle was made with, why it is not served so, and what can be done."""
        environment = source.environment or self.serving
        where = "the serving environment has" if environment.key is None else "model.requirements bring"
        there = " and ".join(skew)
        why = f"; no environment was made for it: {reason}" if reason else ""
        try:
            lines = ", ".join(f'"{line}"' for line in name_requirements(contents, list_own_modules(source)))
        except UnknownPackage:
            lines = ", ".join(f'"scikit-learn=={version}"' for version in sorted(contents.sklearn)) + ", …"
        raise ArtifactError(
            f"{source.config}: {source.spec.model_args.model_file} was made for {describe_origin(contents)}, and "
            f"{where} {there}{why}: write `requirements: [{lines}]` into the config, or convert the model to ONNX "
            "where it was trained, or write `accept_skew: true` to have it served as it is"
        )


def _lacks_wheels(error: _CannotMake) -> bool:
    """Tell whether another Python or other versions could help."""
    return isinstance(error.__cause__, PipFailed) and error.__cause__.reason == "versions"


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
