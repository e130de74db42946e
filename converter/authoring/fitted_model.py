"""Asks models what they are and what they answer, each in its own Python, in processes with bounds.

The side of the build: `object_probe/` is what runs there. Ask only of files that may be loaded: whoever calls this has
had them scanned (`converter.inspect.inspector`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converter.authoring import object_probe
from converter.environments.interpreter import Interpreter
from converter.errors import ArtifactError, ConfigError, MissingLibrary
from converter.inspect.line_process import LineProcess

SAMPLE_ROWS = 32
_SECONDS = 120.0
BYTES_A_SECOND = 20 * 1024 * 1024
# torch and pyarrow reserve addresses that they never use.
_MEMORY = 12 * 1024**3
_TIMES_SIZE = 4
_FIXED = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "ORT_DISABLE_TELEMETRY": "1",
    "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip
# As a package of its own: the model's Python has nothing of ours, and no module of ours may stand in for one of its.
_START = """
import importlib.util, sys
folder = sys.argv[1]
start = folder + "/__init__.py"
spec = importlib.util.spec_from_file_location("schwift_probe", start, submodule_search_locations=[folder])
sys.modules["schwift_probe"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from schwift_probe.request_loop import main
main()
"""

# What object_probe/examine.py takes and says.
Request = dict[str, Any]
Examined = dict[str, Any]


def examine_all(interpreter: Interpreter, requests: Sequence[Request]) -> list[Examined]:
    """Return what one process after the other says of these models, in their order: what examine.py does, or `error`.

    `missing` is a module that is not there; `key` the option that says what a model does not.
    """
    with contextlib.closing(Examiner(interpreter)) as examiner:
        return [examiner.ask(request) for request in requests]


class Examiner:
    """Asks one process after the other about models of one Python."""

    def __init__(self, interpreter: Interpreter) -> None:
        command = [str(interpreter.executable), "-I", "-B", "-c", _START, str(Path(object_probe.__file__).parent)]
        self._process = LineProcess(command, {**os.environ, **_FIXED})

    def ask(self, request: Request, seconds: float = _SECONDS) -> Examined:
        """Return what is said of one model, within these seconds and those that a large file takes to read."""
        path = request.get("path")
        size = os.path.getsize(path) if path else 0
        message = {"rows": SAMPLE_ROWS, "memory": _MEMORY + _TIMES_SIZE * size, **request}
        said = self._process.ask(json.dumps(message).encode() + b"\n", seconds + size / BYTES_A_SECOND)
        if "seconds" in said:
            return {"error": f"it took over {said['seconds']} s to load and to answer some rows", "ended": True}
        if "ended" in said:
            return {"error": f"loading it, or asking it, ended the process with code {said['ended']}", "ended": True}
        return said

    def close(self) -> None:
        """End the process."""
        self._process.close()


def check_examined(said: Examined, where: str) -> None:
    """Raise ArtifactError if a model, called `where`, could not be examined, or ConfigError if an option can help."""
    if "missing" in said:
        raise MissingLibrary(
            f"{where}: the model needs {said['missing']}, which is not installed where models run: install it there, "
            "or name another environment in SCHWIFT_MODEL_ENV"
        )
    if "error" in said:
        key = said.get("key")
        if key is None:
            raise ArtifactError(f"{where}: {said['error']}")
        raise ConfigError(f"{where}: {said['error']}" + ("" if key in said["error"] else f" ({key})"))
