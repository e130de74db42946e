"""Which environment each kind of process gets whose model has none of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from converter.environments import fronts
from converter.environments.interpreter import Interpreter, examine_interpreter
from converter.environments.model_environment import find_serving_environment
from converter.errors import EnvironmentProblem
from converter.schema.settings import Settings
from schwift.triton.installation import Installation
from schwift.triton.launcher import Launch, Launches


def choose_launches(settings: Settings, found: Installation, say: Callable[[str], None]) -> Launches:
    """Choose where models and fronts run; an environment for fronts is made if they need one.

    Raises EnvironmentProblem if the one that SCHWIFT_MODEL_ENV or `--env` names cannot run models here.
    """
    usual = Launch("{}.{}".format(*sys.version_info[:2]), Path(sys.prefix), found.libpython)
    models = usual if settings.model_env is None else _launch(find_serving_environment(settings).interpreter)
    if models.python not in found.stubs:
        there = ", ".join(found.stubs) or "none"
        raise EnvironmentProblem(
            f"{models.prefix}: Python {models.python}, and this Triton runs models under {there} alone: name another "
            "environment, or unset SCHWIFT_ENGINE"
        )
    prefix = None if fronts.is_own_enough() else fronts.ensure_fronts(settings, say)
    return Launches(
        usual,
        models,
        fronts=usual if prefix is None else _launch(examine_interpreter(prefix)),
        store=settings.environments_directory,
    )


def _launch(found: Interpreter) -> Launch:
    return Launch(found.version, found.prefix, found.libpython)
