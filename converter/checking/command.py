"""`schwift check`: models → findings → text, and the exit code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from converter.checking.check_models import check_models
from converter.checking.dry_runs import Bounds
from converter.checking.finding_formats import format_findings
from converter.checking.subject import find_at_key, find_problems, read_findings
from converter.errors import ConfigError, MissingLibrary
from converter.inspect.discover import ModelSource, check_names, discover
from converter.inspect.inspector import inspect_each
from converter.inspect.model_environments import ModelEnvironments
from converter.repository.plan import BuildOptions

# Whoever asks for a check waits for it.
_BOUNDS = Bounds(load_seconds=120, seconds=60, file_bytes=2**40)


def run_check(options: BuildOptions, names: Sequence[str], form: str, say: Callable[[str], None]) -> tuple[str, int]:
    """Check these models, or all; return the text in one of the formats, and the exit code: 1 with an error.

    2 with a config that cannot be read. Nothing is written but environments that models need. Raises ConfigError.
    """
    settings = options.settings
    environments = ModelEnvironments(settings, say, write_locks=False)
    broken: list[str] = []
    discovery = discover(settings.model_directory, settings.model_links, problems=broken)
    if not broken:
        check_names(names, discovery)
    passed_over = read_findings(settings.model_directory, discovery.passed_over, "passed-over", "warning")
    findings = [*read_findings(settings.model_directory, broken), *([] if names else passed_over)]
    sources: list[ModelSource] = []
    for source in discovery.sources:
        if not names or source.spec.name in names:
            try:
                sources += environments.prepare((source,))
            except ConfigError as error:
                findings += find_problems(source, "environment", error.problems, "error")
    with tempfile.TemporaryDirectory(prefix="schwift-check-") as scratch:
        known = inspect_each(sources, Path(scratch), options.cores, environments)
        facts = {}
        for source in sources:
            found = known[source.spec.name]
            if isinstance(found, MissingLibrary):
                findings += find_problems(source, "not-tried", found.problems, "warning")
            elif isinstance(found, Exception):
                findings += find_problems(source, "artifact", found.problems, "error")
            else:
                facts[source.spec.name] = found
                notes = ((note.removeprefix(f"{source.config}: "), "") for note in found.notes)
                findings += [find_at_key(source, "environment", "note", ("model_args",), note) for note in notes]
        checked = check_models(sources, facts, options, Path(scratch), _BOUNDS)
        findings += [finding for found_in_one in checked.values() for finding in found_in_one]
    findings.sort(key=lambda finding: finding.file.split("/")[:2])
    failed = any(finding.severity == "error" for finding in findings)
    return format_findings(findings, len(sources), form), ConfigError.exit_code if broken else int(failed)
