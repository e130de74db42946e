"""`schwift reload` and `schwift rollback`: a new build, tried by the running server, then switched to.

Until the server has loaded and asked every changed model, the repository and what is served stay as they were; where
the switch itself fails, both go back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from converter.build import Build, build_repository, roll_back
from converter.errors import ReloadError, RepositoryError
from converter.live_switch.control_client import ControlClient, connected
from converter.live_switch.trial_names import trial_names
from converter.repository import writer
from converter.repository.lock import locked
from converter.repository.plan import BuildOptions, Plan
from converter.schema.manifest import Manifest
from converter.schema.settings import Settings

Say = Callable[[str], None]


def follow_server(settings: Settings, models: Path | None = None, repository: Path | None = None) -> Settings:
    """Return the settings with the folders that the running server serves; those that are given here win.

    Raises NothingServed.
    """
    with connected(settings) as control:
        served = control.folders()
    return settings.model_copy(
        update={
            # Where the server was found, whatever its repository is called.
            "control_socket": settings.control_path,
            "model_directory": models or served.models or settings.model_directory,
            "repository": repository or served.repository or settings.repository,
        }
    )


def reload(
    settings: Settings, options: BuildOptions, names: Sequence[str], say: Say, skip_missing: bool = False
) -> Build:
    """Build `models/`, or the named models of it, and have the server take what changed.

    Raises NothingServed before anything is built, ConfigError of the build, and ReloadError.
    """
    _check_server(settings)
    take = _LiveSwitch(settings, say)
    # Other builds wait until the server is at its end with this one.
    with locked(settings.repository):
        build = build_repository(
            settings.model_directory, settings.repository, options, names, skip_missing=skip_missing, write=take.build
        )
        if not build.changes:
            # The server may be behind: it was started before the last build, or has given a model up.
            take.current(build.manifest, names)
        return build


def rollback(settings: Settings, name: str, say: Say) -> Build:
    """Have the server go back to the version of a model before the one it serves; raises as `reload` does."""
    _check_server(settings)
    return roll_back(settings.repository, name, write=_LiveSwitch(settings, say).build)


def _check_server(settings: Settings) -> None:
    with connected(settings):
        pass
    if not settings.repository.is_symlink():
        raise RepositoryError(
            f"{settings.repository} is a copy of a repository, which cannot be switched: build it with "
            "`schwift build-repo`, and start the server anew"
        )


class _LiveSwitch:
    """How the server takes a repository."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._say = say

    def build(self, plan: Plan, manifest: Manifest, output: Path) -> None:
        """A `writer.Write`: the build is switched to once the server has tried it."""
        with writer.stage(plan, manifest, output) as new, connected(self._settings, self._say) as control:
            served = new.served
            if served is None:
                raise RepositoryError(f"{output}: what is served is gone from the disk: start the server anew")
            changed = _changed(control, manifest)
            entries = [entry for entry in manifest.models if entry.name in changed]
            with trial_names(entries, new.folder, served) as suffix:
                control.try_build(new.folder.name, changed, suffix)
                new.switch()
                try:
                    control.switch()
                except BaseException:
                    new.undo()
                    with contextlib.suppress(ReloadError):
                        control.settle()
                    raise

    def current(self, manifest: Manifest, names: Sequence[str]) -> None:
        """The build that is there already; failed models are tried again, or those of them that are named."""
        with connected(self._settings, self._say) as control:
            answer = control.served()
            served, failed = answer.served, {name for name in answer.failed if not names or name in names}
            changed = [
                entry.name
                for entry in manifest.models
                if served.get(entry.name) != entry.version or entry.name in failed
            ]
            if not changed and len(served) == len(manifest.models):
                return
            entries = [entry for entry in manifest.models if entry.name in changed]
            folder = self._settings.repository.resolve()
            with trial_names(entries, folder, folder) as suffix:
                control.try_build(folder.name, changed, suffix)
                control.switch()


def _changed(control: ControlClient, manifest: Manifest) -> list[str]:
    """The models that the server serves in another version, or not at all."""
    served = control.served().served
    return [entry.name for entry in manifest.models if served.get(entry.name) != entry.version]
