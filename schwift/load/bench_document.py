"""A measurement as a JSON file: every step, the options, and the machine that it was made on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from schwift.load.bench_server import BenchProblem
from schwift.load.step_result import StepResult
from triton_repo_template.runtime.threads import available_cores

_FORM = "schwift bench 1"


@dataclass(frozen=True)
class BenchDocument:
    """What one `schwift bench` measured. `about` is everything but the steps."""

    about: dict[str, Any]
    results: list[StepResult]


def describe(url: str, server: Mapping[str, Any], options: Mapping[str, Any], interrupted: bool) -> BenchDocument:
    """Return a document without steps."""
    about = {
        "form": _FORM,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "url": url,
        "server": dict(server),
        "schwift": metadata.version("schwift"),
        "options": dict(options),
        "interrupted": interrupted,
        "machine": {
            "cores": available_cores(),
            "processor": _name_processor(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }
    return BenchDocument(about, [])


def save_document(path: Path, document: BenchDocument) -> None:
    """Write it. Raises BenchProblem if that fails."""
    whole = {**document.about, "results": [asdict(result) for result in document.results]}
    try:
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BenchProblem(f"{path} cannot be written: {error.strerror}: name a file in a folder of yours") from error


def load_document(path: Path) -> BenchDocument:
    """Read it. Raises BenchProblem if it is none."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        results = [StepResult(**item) for item in whole.pop("results")]
        if whole["form"] != _FORM:
            raise ValueError(whole["form"])
    except OSError as error:
        raise BenchProblem(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchProblem(f"{path} is not of this version's `schwift bench --json`: measure anew") from error
    return BenchDocument(whole, results)


def check_writable(paths: Sequence[Path | None]) -> None:
    """Raise BenchProblem if a file cannot be written: before the measurement, and not after it."""
    for path in filter(None, paths):
        if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise BenchProblem(f"{path} cannot be written: name a file in a folder of yours")


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
