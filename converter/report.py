"""What a build says to the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from converter.packing.placement import format_names
from converter.repository.build_plan import BuildPlan
from converter.repository.content import PlannedFile
from converter.schema.manifest import PACK_SUFFIX, ModelEntry, Tensor
from converter.schema.wire import ENVIRONMENT_FILE
from converter.table import format_table


def report(plan: BuildPlan, written: bool = True) -> str:
    """Format a line per model, the notes, and what became of the repository, or would become if not `written`."""
    states = _find_states(plan, written)
    rows = [
        [
            entry.name,
            entry.spec.version,
            str(entry.version),
            entry.spec.backend,
            " + ".join(reversed(entry.triton_models)),
            str(entry.direct_max_rows),
            str(entry.spec.instances),
            f"{len(entry.columns)} columns" if entry.columns else _format_tensors(entry.inputs),
            _format_tensors(entry.outputs),
            states[entry.name],
        ]
        for entry in plan.built
    ]
    sizes = ["MAX ROWS", "INSTANCES"]
    head = ["MODEL", "VERSION", "NUMBER", "BACKEND", "TRITON MODELS", *sizes, "INPUT", "OUTPUT", "STATE"]
    lines = [format_table(head, rows), *_list_packs(plan)]
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


def _list_packs(plan: BuildPlan) -> Iterator[str]:
    """Format a line for each pack: its models, and where its process runs."""
    for host in plan.manifest.hosts:
        names = [entry.name for entry in plan.manifest.models if entry.host == host.direct]
        environment = plan.files.get(f"{host.direct}/{host.version}/{ENVIRONMENT_FILE}")
        where = "the serving environment" if environment is None else f"environment {_read_key(environment)}"
        copies = f"{host.spec.instances} processes" if host.spec.instances > 1 else "one process"
        pack = host.name.removesuffix(PACK_SUFFIX)
        count = "one model" if len(names) == 1 else f"{len(names)} models"
        yield f"pack {pack}: {count} in {copies}, in {where}: {format_names(names)}"


def _read_key(file: PlannedFile) -> str:
    text = file.content if isinstance(file.content, bytes) else Path(file.content).read_bytes()
    return text.decode().partition("\n")[0]


def _format_tensors(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(
        f"{tensor.name} {tensor.dtype}[{','.join(['N', *('?' if d < 0 else str(d) for d in tensor.dims)])}]"
        for tensor in tensors
    )


def _find_states(plan: BuildPlan, written: bool) -> dict[str, str]:
    """Say what becomes of each model, by its name."""
    changes = plan.changes
    files, added = _count_by_folder(plan.files), _count_by_folder(changes.added)
    touched = _count_by_folder((*changes.changed, *changes.removed))

    def find(entry: ModelEntry) -> str:
        folders = entry.folders
        new = sum(added[folder] for folder in folders)
        if new == sum(files[folder] for folder in folders):
            return "added" if written else "would be added"
        if new or any(touched[folder] for folder in folders) or entry.name in changes.models:
            return "changed" if written else "would change"
        return "unchanged"

    return {entry.name: find(entry) for entry in plan.built}


def _count_by_folder(paths: Iterable[str]) -> Counter[str]:
    return Counter(path.partition("/")[0] for path in paths)
