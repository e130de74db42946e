"""Has a process of its own open a model's file, as the file's library does (converter/inspect/probe.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource

# Opens a model's file as its library does, and answers what it found.
Probe = Callable[..., dict[str, Any]]

_PROBE_SECONDS = 120


def run_probe(source: ModelSource, *arguments: str) -> dict[str, Any]:
    """Have a process of its own open the model's file. Raises ArtifactError if it cannot."""
    name = source.spec.model_args.model_file
    try:
        done = subprocess.run(
            [sys.executable, *(["-s"] if sys.flags.isolated else []), "-m", "converter.inspect.probe", *arguments],
            # Modules in the current folder must not stand in for ours.
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
            env=_make_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{source.config}: {name} took over {_PROBE_SECONDS} s to read") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ArtifactError(
            f"{source.config}: {name} is damaged: reading it ended the process with code {done.returncode}: "
            "write the model's file again"
        ) from error
    return check_answer(source, answer)


def _make_environment() -> dict[str, str]:
    """Keep from the process what this one was isolated from (`python -I`)."""
    kept = {name: value for name, value in os.environ.items() if not (sys.flags.isolated and name.startswith("PYTHON"))}
    # TorchScript writes a module's constants in the order of a set. With -I itself, Python would not read this.
    return {**kept, "PYTHONHASHSEED": "0"}


def check_answer(source: ModelSource, answer: dict[str, Any]) -> dict[str, Any]:
    """Return a probe's answer. Raises ArtifactError if it is an error."""
    if "error" in answer:
        raise ArtifactError(f"{source.config}: {source.spec.model_args.model_file}: {answer['error']}")
    return answer
