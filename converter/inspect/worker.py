"""The process that looks into models' files: `python -m converter.inspect.worker`, started by worker_process.py.

Takes pickled sources from standard input, from the build alone, and answers each with a line of JSON. Before each it
bounds its own memory, by what the model's files are; the build bounds its time. What a library prints goes nowhere.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import IO, Any

from converter.errors import ArtifactError, MissingLibrary
from converter.inspect import inspector
from converter.inspect.discover import ModelSource

_PR_SET_PDEATHSIG = 1
_MIB = 1024 * 1024
# Beyond what the process has; torch reserves addresses that it never uses.
_MEMORY = 2048 * _MIB
_MEMORY_OF_TORCH = 8192 * _MIB
_TIMES_SIZE = 4


def count_memory_bound(source: ModelSource) -> int:
    """Count the bytes a model may take: in memory it is as its file has it, and on the way there a few times over."""
    base = _MEMORY_OF_TORCH if source.spec.backend == "torch" else _MEMORY
    return base + _TIMES_SIZE * sum(source.path_of(name).stat().st_size for name in source.files)


def main() -> None:
    """Answer until standard input ends."""
    # With the build that started it, whatever ends that.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    scratch = Path(sys.argv[1])
    while (source := _read_source(sys.stdin.buffer)) is not None:
        answers.write(json.dumps(_answer(source, scratch)) + "\n")
        answers.flush()


def _read_source(stream: IO[bytes]) -> ModelSource | None:
    try:
        found: ModelSource = pickle.load(stream)
    except EOFError:
        return None
    return found


def _answer(source: ModelSource, scratch: Path) -> dict[str, Any]:
    bound = count_memory_bound(source)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = _count_addresses() + bound
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        return {"facts": inspector.FACTS.dump_python(inspector.inspect(source, scratch), mode="json")}
    except MissingLibrary as error:
        return {"missing": error.problems}
    except ArtifactError as error:
        if _is_out_of_memory(error):
            return {"memory": bound // _MIB}
        return {"problems": error.problems}
    except MemoryError:
        return {"memory": bound // _MIB}


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error came of no memory, however a library says that."""
    while error is not None:
        if isinstance(error, MemoryError) or any(
            word in str(error) for word in ("MemoryError", "bad_alloc", "bad allocation", "Failed to allocate")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _count_addresses() -> int:
    """Return how many addresses this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
