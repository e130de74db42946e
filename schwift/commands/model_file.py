"""`schwift serve PATH`: the model's folder is written first, as `schwift new` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from converter.schema.settings import Settings, env_name


def write_folder(path: str, settings: Settings, name: str | None, data: Path | None) -> int:
    """Have the converter write the folder, unless it was made of the same file; return its exit code.

    In a process of its own: what it imports is not kept while serving.
    """
    command = [
        sys.executable,
        "-I",
        "-m",
        "converter",
        "new",
        path,
        "--reuse",
        "--models",
        str(settings.model_directory),
    ]
    command += ["--name", name] if name else []
    command += ["--data", str(data)] if data else []
    paths = {"model_env": settings.model_env, "cache": settings.cache_directory}
    chosen = {env_name(field): str(value) for field, value in paths.items() if value is not None}
    return subprocess.run(command, env={**os.environ, **chosen}, stdin=subprocess.DEVNULL).returncode
