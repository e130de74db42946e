"""Which environment each kind of process gets that has none of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
import sys

from converter.environments.interpreter import examine_interpreter, find_pythons
from converter.environments.store import EnvironmentStore
from converter.errors import SchwiftError
from converter.schema.settings import Settings
from schwift.triton.installation import Installation
from schwift.triton.launcher import Launch, Launches

# The last numpy whose arrays of strings this Triton can read, and the newest Python that it runs on.
_FRONTS_NUMPY = "numpy==1.26.4"
_FRONTS_PYTHONS = ("3.12", "3.11", "3.10")
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def choose_launches(settings: Settings, found: Installation, say: Callable[[str], None]) -> Launches:
    """Choose where models, fronts and ONNX graphs run; an environment for fronts is made if there is none.

    Raises ConfigError if SCHWIFT_MODEL_ENV or `--env` is no environment that models can run in.
    """
    usual = Launch(_PYTHON, Path(sys.prefix), found.libpython)
    models = usual
    if settings.model_env is not None:
        examined = examine_interpreter(settings.model_env)
        models = Launch(examined.version, examined.prefix, examined.libpython)
    store = EnvironmentStore(settings.cache_directory / "environments")
    fronts = usual if metadata.version("numpy").startswith("1.") else _find_fronts(store, say) or usual
    onnx = usual if util.find_spec("onnxruntime") else models
    return Launches(usual, models, fronts, onnx, store.root)
