"""Tries models in their own Python, in few processes with bounds, and returns what each said."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from converter.authoring.fitted_model import BYTES_A_SECOND, Examined, Examiner
from converter.authoring.original import find_interpreter, make_request
from converter.environments.interpreter import Interpreter
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.progress import show_progress
from converter.repository.runtime_files import LIBRARIES

# Of a process that does not look at its clock, and for the libraries that it imports.
_MORE_SECONDS = 10.0
_MIB = 1024 * 1024
# A library takes longer to import than small models to be tried: those that need the same come one after the other.
_ORDER = {"torch": 0, "sklearn": 1, "joblib": 1, "python": 2, "onnx": 3}


@dataclass(frozen=True)
class Bounds:
    """How long a model may take to load and to answer, in seconds, and how large its file may be."""

    load_seconds: float
    seconds: float
    file_bytes: int


@dataclass(frozen=True)
class Attempt:
    """A model to be tried; with `together`, rows are joined where it is served."""

    source: ModelSource
    facts: ModelFacts
    together: bool = True


def try_models(attempts: Sequence[Attempt], scratch: Path, jobs: int, bounds: Bounds) -> dict[str, Examined]:
    """Return what object_probe/dry_run.py says of each model, by name. Raises ConfigError for a file that changes."""
    groups: dict[Path, list[Attempt]] = defaultdict(list)
    interpreters: dict[Path, Interpreter] = {}
    for attempt in sorted(attempts, key=lambda each: _ORDER[each.source.spec.backend]):
        interpreter = find_interpreter(attempt.source, attempt.facts)
        interpreters[interpreter.executable] = interpreter
        groups[interpreter.executable].append(attempt)
    found: dict[str, Examined] = {}
    with show_progress("trying models", len(attempts)) as told:
        for executable, group in groups.items():
            waiting = deque(group)

            def work(interpreter: Interpreter, waiting: deque[Attempt]) -> None:
                with contextlib.closing(Examiner(interpreter)) as examiner, contextlib.suppress(IndexError):
                    while True:
                        attempt = waiting.popleft()
                        found[attempt.source.spec.name] = _try_one(examiner, attempt, scratch, bounds)
                        told()

            # A process starts as long as a few models take.
            lanes = max(1, min(jobs, -(-len(group) // 2)))
            with ThreadPoolExecutor(max_workers=lanes) as pool:
                for lane in [pool.submit(work, interpreters[executable], waiting) for _ in range(lanes)]:
                    lane.result()
    return found


def _try_one(examiner: Examiner, attempt: Attempt, scratch: Path, bounds: Bounds) -> Examined:
    source = attempt.source
    name = source.spec.model_args.model_file
    size = os.path.getsize(source.path_of(name)) if name else 0
    if size > bounds.file_bytes:
        return {"slow": f"its file has {size // _MIB} MiB, which takes long to try: `schwift check` does"}
    request = make_request(source, attempt.facts, scratch)
    try:
        bounded = {"load_seconds": bounds.load_seconds + size / BYTES_A_SECOND, "seconds": bounds.seconds}
        ways = {"together": attempt.together, "made_up": source.spec.warmup}
        asked = {**request, **bounded, **ways, "task": "check"}
        if request["kind"] == "pickle":
            asked |= {"libraries": str(LIBRARIES), "imports": _list_imports(attempt)}
        return examiner.ask(asked, bounds.load_seconds + bounds.seconds + _MORE_SECONDS)
    finally:
        if request["kind"] == "pickle":
            # A copy: many large ones need not be there at once.
            os.unlink(request["path"])


def _list_imports(attempt: Attempt) -> list[str]:
    """List what a model's file needs for certain, and takes a while to import."""
    needed = attempt.source.spec.backend == "sklearn" or "scikit-learn" in attempt.facts.made_for
    return ["sklearn"] if needed else []
