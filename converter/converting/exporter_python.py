"""The Python that writes a model's graph: with the model's own libraries, and skl2onnx."""

from __future__ import annotations

from pathlib import Path

from converter.environments.environment_store import EnvironmentStore
from converter.environments.interpreter import Interpreter, examine_interpreter
from converter.environments.pip_install import PipFailed
from converter.errors import EnvironmentProblem
from converter.inspect.model_environments import Say
from converter.inspect.pickle_versions import PACKAGES
from converter.schema.settings import Settings
from converter.trust import pickle_reader

_NEEDED = ("skl2onnx", "onnx")
# With any of these a model is loaded, if they are where it runs.
_USUAL = ("numpy", "scipy", "joblib", "pandas", "scikit-learn")


def find_exporter(there: Interpreter, pickle: Path, settings: Settings, say: Say) -> Interpreter:
    """Return the Python of a model, or an environment of the same versions with skl2onnx, which is made once.

    Raises EnvironmentProblem with the remedy.
    """
    if there.modules.issuperset(_NEEDED):
        return there
    tops = {module.split(".")[0] for module, _ in pickle_reader.read(pickle).names}
    named = {*_USUAL, *(PACKAGES[top] for top in tops if top in PACKAGES)}
    # What stands behind a plus is a build of somebody's, which an index does not have.
    pins = [
        f"{name}=={version.partition('+')[0]}"
        for name, version in sorted(there.packages.items())
        # As xgboost-cpu is called.
        if name.removesuffix("-cpu") in named
    ]
    lines = (*pins, "skl2onnx")
    store = EnvironmentStore(settings.environments_directory)
    key = store.look_up(lines, there.version, ()) or store.find_fitting(lines, there.version)
    if key is None:
        if settings.environments == "off":
            raise EnvironmentProblem(
                "skl2onnx, which writes graphs, is not where the model runs, and SCHWIFT_ENVIRONMENTS=off makes no "
                "environment: install skl2onnx there, or set it to on"
            )
        say(f"making an environment with skl2onnx and what the model runs with: {', '.join(pins)}")
        try:
            key, _ = store.build(lines, (there.version, there.executable), (), say)
        except PipFailed as error:
            raise EnvironmentProblem(
                f"skl2onnx, which writes graphs, is not where the model runs, and no environment with it could be "
                f"made: {error}: install skl2onnx there"
            ) from error
    return examine_interpreter(store.root / key, bare=True)
