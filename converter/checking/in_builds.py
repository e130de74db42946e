"""The check of a build: of the models that it looked into, and quicker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from converter.checking.check_models import check_models
from converter.checking.dry_runs import Bounds
from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.plan import BuildOptions

# A model that takes longer is served all the same: `schwift check` waits for it.
_BOUNDS = Bounds(load_seconds=15, seconds=5, file_bytes=1024**3)


def check_build(
    sources: Sequence[ModelSource], facts: Mapping[str, ModelFacts], options: BuildOptions, scratch: Path
) -> dict[str, ModelFacts]:
    """Try these models, and return their facts with the warnings among their notes. Raises ArtifactError for errors."""
    found = check_models(sources, facts, options, scratch, _BOUNDS if options.settings.check == "on" else None)
    errors = [str(item) for findings in found.values() for item in findings if item.severity == "error"]
    if errors:
        raise ArtifactError(errors)
    return {
        name: replace(known, notes=(*known.notes, *(str(item) for item in found[name] if item.severity == "warning")))
        for name, known in facts.items()
    }
