"""What a build says to the user."""

from __future__ import annotations

from pathlib import Path

from converter.build import Build
from converter.schema.manifest import ModelEntry, Tensor
from converter.table import format_table


def report(build: Build, output: Path, check: bool) -> str:
    """A table with a line per model, then the notes and what became of the repository."""
    rows = [
        [
            entry.name,
            entry.spec.version,
            str(entry.version),
            entry.spec.backend,
            " + ".join(reversed(entry.triton_models)),
            str(entry.direct_max_rows),
            _tensors(entry.inputs),
            _tensors(entry.outputs),
            _state(build, entry, check),
        ]
        for entry in build.built
    ]
    head = ["MODEL", "VERSION", "NUMBER", "BACKEND", "TRITON MODELS", "MAX ROWS", "INPUT", "OUTPUT", "STATE"]
    lines = [format_table(head, rows)]
    lines += [f"note: {note}" for note in build.notes]
    if check:
        lines += [f"would add     {name}" for name in build.changes.added]
        lines += [f"would change  {name}" for name in build.changes.changed]
        lines += [f"would remove  {name}" for name in build.changes.removed]
        lines.append(f"{output}: {'would change' if build.changes else 'up to date'}; nothing was written.")
    else:
        files = len(build.manifest.files) + 1
        lines.append(f"{output}: {'written' if build.changes else 'up to date'}, {files} files.")
    return "\n".join(lines)


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype}[{','.join(['N', *('?' if d < 0 else str(d) for d in tensor.dims)])}]"
        for tensor in tensors
    )


def _state(build: Build, entry: ModelEntry, check: bool) -> str:
    folders = tuple(f"{name}/" for name in entry.triton_models)
    added = [name for name in build.changes.added if name.startswith(folders)]
    touched = [name for name in (*build.changes.changed, *build.changes.removed) if name.startswith(folders)]
    own = [name for name in build.manifest.files if name.startswith(folders)]
    if len(added) == len(own):
        return "would be added" if check else "added"
    if added or touched:
        return "would change" if check else "changed"
    if entry.name in build.changes.models:
        return "would change" if check else "changed"
    return "unchanged"
