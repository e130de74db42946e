"""`python -m tests.support.models.killed_build FOLDER [copy]`: a build killed at every step that touches the disk.

In FOLDER are made `models/` and a repository of version 1, `repo`; with `copy` that is a plain folder, and the steps
are counted from where the new build is complete. For each n, a child builds version 2 and kills itself (SIGKILL, no
cleaning up) at its nth event on the file system. Prints a JSON list: for each n, the version that a reader finds then,
or what is wrong with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from converter.repository.build_plan import complete_plan
from converter.repository.current import read_current
from converter.repository.writer import commit
from tests.support.models.repositories import versions, whole
from tests.support.models.sample_models import add_joblib, plan_for, source_of

_WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "shutil.rmtree"}


def _arm(last: int, from_rename: bool) -> None:
    """Kill this process at its `last`th event, counted from the first rename if so asked."""
    seen = 0
    counting = not from_rename

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen, counting
        counting = counting or event == "os.rename"
        if not counting:
            return
        if event in _WRITES or (event == "open" and len(arguments) > 2 and _writes(arguments[2])):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _build(root: Path, last: int, from_rename: bool = False) -> None:
    models = plan_for([source_of(root / "models" / "a")])
    plan = complete_plan(root / "repo", [models], read_current(root / "repo"))
    _arm(last, from_rename)
    commit(plan)


def _found(repository: Path) -> str:
    try:
        return versions(whole(repository))["a"]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(root: Path, copy: bool) -> list[str]:
    found = []
    for last in range(1, 1000):
        for name in ("repo", ".repo.builds", ".repo.link"):
            path = root / name
            if path.is_symlink():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
        add_joblib(root / "models", "a", version="1", endpoints="predict")
        _build(root, 0)
        if copy:
            real = (root / "repo").resolve()
            (root / "repo").unlink()
            shutil.copytree(real, root / "repo")
        add_joblib(root / "models", "a", version="2", endpoints="predict")
        child = os.fork()
        if child == 0:
            try:
                _build(root, last, copy)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        found.append(_found(root / "repo"))
        if os.WIFEXITED(status):
            return found
    raise AssertionError("the build never came to its end")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:] == ["copy"])))
