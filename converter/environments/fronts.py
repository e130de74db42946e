"""Where fronts run: this Triton hands strings, which native clients send, to Python under numpy 1 alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from converter.environments.interpreter import find_pythons
from converter.environments.store import EnvironmentStore
from converter.errors import ConfigError
from converter.schema.settings import Settings

# The last of numpy 1, and the Pythons that it runs on, the likeliest first.
_REQUIREMENTS = ("numpy==1.26.4",)
_OWN = "{}.{}".format(*sys.version_info[:2])
_PYTHONS = tuple(sorted(("3.12", "3.11", "3.10"), key=lambda version: version != _OWN))
WITHOUT_STRINGS = (
    "fronts run without strings: they need numpy 1, which is not here, and runs on Python 3.10 to 3.12: install one of "
    "these and run `schwift engine install`"
)


def is_own_enough() -> bool:
    """Return whether fronts can run in schwift's own environment."""
    return metadata.version("numpy").startswith("1.")


def find_fronts(settings: Settings) -> Path | None:
    """Find the environment that was made for fronts; None if there is none."""
    store = EnvironmentStore(settings.cache_directory / "environments")
    keys = (store.look_up(_REQUIREMENTS, version, ()) for version in _PYTHONS)
    return next((store.find(key) for key in keys if key is not None), None)


def ensure_fronts(settings: Settings, say: Callable[[str], None]) -> Path | None:
    """Find the environment for fronts, and make it if there is none; None if it cannot be made, which is said."""
    found = find_fronts(settings)
    if found is not None:
        return found
    pythons = find_pythons() if settings.environments == "on" else {}
    version = next((version for version in _PYTHONS if version in pythons), None)
    if version is not None:
        store = EnvironmentStore(settings.cache_directory / "environments")
        say(f"fronts: numpy 1 for Triton's own clients' strings (Python {version})")
        try:
            key, _ = store.build(_REQUIREMENTS, (version, pythons[version]), (), say)
            return store.find(key)
        except ConfigError as error:
            say(f"fronts: {error}")
    say(f"note: {WITHOUT_STRINGS}")
    return None
