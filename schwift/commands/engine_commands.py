"""The bodies of `schwift engine install | show | remove`."""

from __future__ import annotations

from pathlib import Path

from converter.environments import engine, fronts
from converter.environments.engine import Engine
from converter.schema.settings import Settings
from schwift.triton.installation import say_on_stdout


def install_engine(settings: Settings, wheel: Path | None) -> None:
    """Install the engine, or say that it is there; and what fronts need beside it.

    Raises RuntimeMissing with one sentence and its remedy.
    """
    found = engine.find_engine(settings)
    if found is None:
        engine.ensure_engine(settings, say_on_stdout, wheel)
    else:
        say_on_stdout(f"Triton {found.version} is there already: {found.folder}")
    if not fronts.is_own_enough():
        fronts.ensure_fronts(settings, say_on_stdout)


def show_engine(settings: Settings) -> int:
    """Say what engine there is, and return the exit code: 1 if there is none."""
    found = engine.find_engine(settings)
    if found is None:
        say_on_stdout(f"no Triton in {settings.cache_directory}: schwift engine install")
        return 1
    say_on_stdout(f"version: {found.version}\nfolder:  {found.folder}\nsize:    {_megabytes(found):.0f} MB")
    say_on_stdout(f"Pythons: {', '.join(found.stubs) or 'none'}")
    return 0


def remove_engine(settings: Settings) -> None:
    """Remove the engine from the cache. Raises RuntimeMissing if it is not in the cache."""
    removed = engine.remove_engine(settings, say_on_stdout)
    say_on_stdout(f"removed {removed}" if removed else f"no Triton in {settings.cache_directory}")


def _megabytes(found: Engine) -> float:
    """Return the size of its files, each counted once."""
    folders = {found.triton, *filter(None, [found.libraries])}
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()) / 1e6
