"""What a built repository holds, read from the disk and judged as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from converter.build import open_workspace, plan_repository, plan_rollback
from converter.repository.build_plan import BuildPlan
from converter.repository.plan import BuildOptions
from converter.repository.writer import commit
from converter.schema.manifest import FILENAME, Manifest, read_manifest
from tests.support.models.sample_models import OPTIONS


def build(
    root: Path,
    only: Sequence[str] = (),
    check: bool = False,
    options: BuildOptions = OPTIONS,
    output: str = "repo",
    skip_missing: bool = False,
) -> BuildPlan:
    """Build `root/models` into `root/repo`; with `check`, only plan that."""
    with open_workspace(root / output, read_only=check) as old:
        plan = plan_repository(root / "models", options, old, only, skip_missing)
        if not check:
            commit(plan)
    return plan


def roll_back(root: Path, name: str, options: BuildOptions = OPTIONS) -> BuildPlan:
    """Go back to the version of a model before the served one in `root/repo`."""
    with open_workspace(root / "repo") as old:
        plan = plan_rollback(name, old, options)
        commit(plan)
    return plan


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def whole(repository: Path) -> Manifest:
    """The manifest, after every file was found to be there and as it says, and no other file."""
    manifest = read_manifest(repository)
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents(repository).items()}
    del found[FILENAME]
    assert found == manifest.files
    return manifest


def versions(manifest: Manifest) -> dict[str, str]:
    """The version that each model had when it was built."""
    return {entry.name: entry.spec.version for entry in manifest.models}


def numbers(root: Path, output: str = "repo") -> list[str]:
    """The builds that are kept, and whatever else lies beside them."""
    return sorted(
        path.name for path in (root / f".{output}.builds").iterdir() if path.name not in ("lock", "stamps.json")
    )
