"""`schwift reload` and `schwift rollback`: a build is tried by the running server, then switched to, or all stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from converter.build import open_workspace, plan_repository, plan_rollback
from converter.errors import ReloadError, RepositoryError
from converter.live_switch.control_client import connect
from converter.live_switch.trial_names import lay_out_trial_names
from converter.repository.build_plan import BuildPlan
from converter.repository.plan import BuildOptions
from converter.repository.stamps import write_stamps
from converter.repository.writer import stage
from converter.schema.manifest import Manifest
from converter.schema.settings import Settings
from triton_repo_template.runtime.threads import available_cores

Say = Callable[[str], None]


def follow_server(settings: Settings, models: Path | None = None, repository: Path | None = None) -> Settings:
    """Return the settings with the folders that the server serves, if none are given here. Raises NothingServed."""
    with connect(settings) as control:
        served = control.folders()
    return settings.model_copy(
        update={
            # Where the server was found, whatever its repository is called.
            "control_socket": settings.control_path,
            "model_directory": models or served.models or settings.model_directory,
            "repository": repository or served.repository or settings.repository,
            # Where the server says nothing of its folders, its environment is known here alone.
            "model_env": served.model_env if served.models else settings.model_env,
            "cache": served.cache or settings.cache,
        }
    )


def reload(options: BuildOptions, names: Sequence[str], say: Say, skip_missing: bool = False) -> BuildPlan:
    """Build `models/`, or these models, and have the server take what changed. Raises ConfigError, ReloadError."""
    settings = options.settings
    _check_server(settings)
    # Other builds wait until the server is at its end with this one.
    with open_workspace(settings.repository) as old:
        plan = plan_repository(settings.model_directory, options, old, names, skip_missing)
        if plan.changes:
            _switch_live(settings, plan, say)
        else:
            # The server may be behind: it was started before the last build, or has given a model up.
            _catch_up(settings, plan.manifest, names, say)
        write_stamps(plan.output, plan.stamps)
        return plan


def rollback(settings: Settings, name: str, say: Say) -> BuildPlan:
    """Have the server go back to the version of a model before the one it serves; raises as `reload` does."""
    _check_server(settings)
    with open_workspace(settings.repository) as old:
        plan = plan_rollback(name, old, BuildOptions(settings, available_cores()))
        _switch_live(settings, plan, say)
        return plan


def _check_server(settings: Settings) -> None:
    """Raise NothingServed or RepositoryError if what is built could not be switched to."""
    with connect(settings):
        pass
    if not settings.repository.is_symlink():
        raise RepositoryError(
            f"{settings.repository} is a copy of a repository, which cannot be switched: build it with "
            "`schwift build-repo`, and start the server anew"
        )


def _switch_live(settings: Settings, plan: BuildPlan, say: Say) -> None:
    """Stage a build, have the server try it, and switch to it; both go back if that fails."""
    with stage(plan) as new, connect(settings, say) as control:
        if new.served is None:
            raise RepositoryError(f"{plan.output}: what is served is gone from the disk: start the server anew")
        served = control.served().served
        entries = [entry for entry in plan.manifest.models if served.get(entry.name) != entry.version]
        changed = [entry.name for entry in entries]
        with lay_out_trial_names(entries, new.folder, new.served) as suffix:
            control.try_build(new.folder.name, changed, suffix)
            new.switch()
            try:
                control.switch()
            except BaseException:
                new.undo()
                with contextlib.suppress(ReloadError):
                    control.settle()
                raise


def _catch_up(settings: Settings, manifest: Manifest, names: Sequence[str], say: Say) -> None:
    """Have the server take the build that is there; it tries failed models again, or those of them that are named."""
    with connect(settings, say) as control:
        answer = control.served()
        served, failed = answer.served, {name for name in answer.failed if not names or name in names}
        entries = [
            entry for entry in manifest.models if served.get(entry.name) != entry.version or entry.name in failed
        ]
        if not entries and len(served) == len(manifest.models):
            return
        folder = settings.repository.resolve()
        with lay_out_trial_names(entries, folder, folder) as suffix:
            control.try_build(folder.name, [entry.name for entry in entries], suffix)
            control.switch()
