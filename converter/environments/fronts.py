"""Where fronts run: this Triton hands strings, which native clients send, to Python under numpy 1 alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from converter.environments.environment_store import EnvironmentStore
from converter.environments.interpreter import find_pythons
from converter.environments.pip_install import PipFailed
from converter.errors import ConfigError
from converter.schema.settings import Settings

# The last of numpy 1, and the Pythons that it runs on, the likeliest first.
_REQUIREMENTS = ("numpy==1.26.4",)
_OWN = "{}.{}".format(*sys.version_info[:2])
_PYTHONS = tuple(sorted(("3.12", "3.11", "3.10"), key=lambda version: version != _OWN))
WITHOUT_STRINGS = (
    "strings of Triton's own clients need numpy 1 where fronts run, which runs on Python 3.10 to 3.12: install one of "
    "these and run `schwift engine install`, with SCHWIFT_ENVIRONMENTS=on, or write `endpoints: [predict]` into the "
    "configs of models with strings"
)


def is_own_enough() -> bool:
    """Return whether fronts can run in schwift's own environment."""
    try:
        return metadata.version("numpy").startswith("1.")
    except metadata.PackageNotFoundError:
        # Another environment would not help: schwift needs it too.
        return True


def find_fronts(settings: Settings) -> Path | None:
    """Find the environment that was made for fronts; None if there is none."""
    store = EnvironmentStore(settings.environments_directory)
    keys = (store.look_up(_REQUIREMENTS, version, ()) for version in _PYTHONS)
    return next((store.find(key) for key in keys if key is not None), None)


def can_be_had(settings: Settings) -> bool:
    """Return whether fronts have numpy 1 or will have it from the first serve on; starts Pythons to find out."""
    return is_own_enough() or find_fronts(settings) is not None or _choose_python(settings) is not None


def ensure_fronts(settings: Settings, say: Callable[[str], None]) -> Path | None:
    """Find the environment for fronts, and make it if there is none; None if it cannot be made, which is said."""
    found = find_fronts(settings)
    if found is not None:
        return found
    python = _choose_python(settings)
    if python is None:
        say(f"note: {WITHOUT_STRINGS}")
        return None
    say(f"fronts: making an environment of Python {python[0]} with numpy 1, for strings of Triton's own clients")
    store = EnvironmentStore(settings.environments_directory)
    try:
        key, _ = store.build(_REQUIREMENTS, python, (), say)
    except (ConfigError, PipFailed) as error:
        say(f"note: fronts have no environment of their own, and take no strings: {error}")
        return None
    return store.find(key)


def _choose_python(settings: Settings) -> tuple[str, Path] | None:
    """Choose the Python of an environment for fronts; None if none may be made."""
    found = find_pythons() if settings.environments == "on" else {}
    return next(((version, found[version]) for version in _PYTHONS if version in found), None)
