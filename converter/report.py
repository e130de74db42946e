"""What a build says to the user."""

from __future__ import annotations

from converter.repository.build_plan import BuildPlan
from converter.schema.manifest import ModelEntry, Tensor
from converter.table import format_table


def report(plan: BuildPlan, written: bool = True) -> str:
    """Format a line per model, the notes, and what became of the repository, or would become if not `written`."""
    rows = [
        [
            entry.name,
            entry.spec.version,
            str(entry.version),
            entry.spec.backend,
            " + ".join(reversed(entry.triton_models)),
            str(entry.direct_max_rows),
            _format_tensors(entry.inputs),
            _format_tensors(entry.outputs),
            _find_state(plan, entry, written),
        ]
        for entry in plan.built
    ]
    head = ["MODEL", "VERSION", "NUMBER", "BACKEND", "TRITON MODELS", "MAX ROWS", "INPUT", "OUTPUT", "STATE"]
    lines = [format_table(head, rows)]
    lines += [f"note: {note}" for note in plan.notes]
    if written:
        files = len(plan.files) + 1
        lines.append(f"{plan.output}: {'written' if plan.changes else 'up to date'}, {files} files.")
    else:
        lines += [f"would add     {name}" for name in plan.changes.added]
        lines += [f"would change  {name}" for name in plan.changes.changed]
        lines += [f"would remove  {name}" for name in plan.changes.removed]
        lines.append(f"{plan.output}: {'would change' if plan.changes else 'up to date'}; nothing was written.")
    return "\n".join(lines)


def _format_tensors(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype}[{','.join(['N', *('?' if d < 0 else str(d) for d in tensor.dims)])}]"
        for tensor in tensors
    )


def _find_state(plan: BuildPlan, entry: ModelEntry, written: bool) -> str:
    """Say what becomes of a model."""
    changes, folders = plan.changes, tuple(f"{name}/" for name in entry.triton_models)
    added = [name for name in changes.added if name.startswith(folders)]
    touched = any(name.startswith(folders) for name in (*changes.changed, *changes.removed))
    if len(added) == sum(name.startswith(folders) for name in plan.files):
        return "added" if written else "would be added"
    if added or touched or entry.name in changes.models:
        return "changed" if written else "would change"
    return "unchanged"
