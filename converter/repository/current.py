"""What is at a repository's path before a build, and whether a build may replace it."""

from __future__ import annotations

import os
from pathlib import Path

from converter.errors import RepositoryError
from converter.repository.lock import builds_path
from converter.schema.manifest import FILENAME, Manifest, read_manifest


def read_current(output: Path, tolerant: bool = False) -> Manifest | None:
    """Read the manifest that is there now; None if there is no repository.

    Raises RepositoryError if `output` is something that a build must not replace, or if its manifest cannot be read;
    with `tolerant`, a repository of ours with such a manifest counts as none, since a whole build replaces it.
    """
    if not os.path.lexists(output):
        return None
    ours = output.is_symlink() and output.resolve().parent == builds_path(output).resolve()
    if ours or (output / FILENAME).is_file():
        try:
            manifest = read_manifest(output) if output.exists() else None
            if manifest is not None and not ours:
                _refuse_foreign_files(output, manifest)
            return manifest
        except RepositoryError:
            if ours and tolerant:
                return None
            raise
    if output.is_dir() and not output.is_symlink() and not any(output.iterdir()):
        return None
    raise RepositoryError(
        f"{output} is there and was not written by `schwift build-repo`: name another folder with --output"
    )


def _refuse_foreign_files(output: Path, manifest: Manifest) -> None:
    """Refuse to replace a plain folder, which is done whole, if anything in it is a user's."""
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and name != FILENAME and name not in manifest.files and "__pycache__" not in path.parts:
            raise RepositoryError(f"{path} is not of the repository in {output}: move it, or name another --output")
