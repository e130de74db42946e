"""One JSON line in for each model, one out: what the model is, rows for it, and its answers to them.

With a `task` it is something else: the answers to rows that are given (answer_rows.py), what there is to be compared
with the model's config (dry_run.py), or what `schwift convert` asks.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import warnings
from typing import Any

from . import answer_rows, dry_run, examine
from .exporting import graph_export, many_answers, native_export

_PR_SET_PDEATHSIG = 1
_TASKS = {
    "examine": examine.examine, "answer": answer_rows.answer, "check": dry_run.try_model,
    "answer_many": many_answers.answer_many,
    "export_graph": graph_export.export, "export_native": native_export.export,
}  # fmt: skip


def main() -> None:
    """Answer until standard input ends; what a model or a library prints goes nowhere."""
    # With the process that started it, whatever ends that.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    path, modules = list(sys.path), set(sys.modules)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()
        _forget_modules(path, modules)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    most, hard = request["memory"], resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        return _TASKS[request.get("task", "examine")](request)
    except examine.CannotTell as error:
        return {"error": str(error), "key": error.key}
    except dry_run.OverTime as error:
        return {"slow": str(error)}
    except ImportError as error:
        return {"missing": (error.name or str(error)).split(".")[0]}
    except MemoryError:
        return {"error": f"it takes over {most // 2**20} MiB of memory"}
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:500]
        return {"error": f"{said}: load it where models run, and call it, to see where that comes from"}


def _forget_modules(path: list[str], modules: set[str]) -> None:
    """Drop what lay beside a model: the next may have another module of that name."""
    beside = [folder for folder in sys.path if folder not in path]
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and any(file.startswith(folder + os.sep) for folder in beside):
            del sys.modules[name]
