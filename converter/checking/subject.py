"""One model under check: its config, what its file says, what it said when it was tried; and how findings are made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converter.checking.findings import Finding, Severity
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.plan import BuildOptions
from converter.repository.tensors import TensorPlan
from converter.schema.config_loader import locate
from converter.schema.model import ModelSpec
from converter.schema.samples.sample_file import SAMPLE_NAME, Sample

# A key, as pydantic has them: an index counts for nothing where the YAML has no list.
Key = tuple[str | int, ...]
# A problem as other parts of the build write it.
_PROBLEM = re.compile(r"(?P<file>[^:\n]+)(?::(?P<line>\d+))?: (?:model\.(?P<key>[\w.\[\]]+): )?(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class Subject:
    """What rules look at.

    `said` is what the probe said (object_probe/dry_run.py), `form` that of the model's rows (authoring/original.py).
    `given` are the rows of the sample.
    """

    source: ModelSource
    facts: ModelFacts
    options: BuildOptions
    outputs: tuple[TensorPlan, ...] = ()
    form: Mapping[str, Any] = field(default_factory=dict)
    sample: Sample | None = None
    given: Sequence[Any] = ()
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The model's config."""
        return self.source.spec

    @property
    def about(self) -> Mapping[str, Any]:
        """What the loaded object says of itself (object_probe/describing.py); empty if it was not loaded."""
        found: Mapping[str, Any] = self.said.get("facts") or {}
        return found

    @property
    def rows(self) -> list[Any]:
        """The rows that were asked, those of the sample if it has one."""
        return list(self.said.get("rows") or ())

    @property
    def answers(self) -> list[list[Any] | None]:
        """The answers to them, each with all outputs; None for a row that the model refused."""
        return list(self.said.get("answers") or ())

    @property
    def is_fitted(self) -> bool:
        """Whether the object said what it takes, so that rows can be made up within that."""
        return bool(self.about.get("width") or self.about.get("names"))

    def find(self, code: str, severity: Severity, key: Key, message: str, remedy: str) -> Finding:
        """Make a finding at a key of the config."""
        return find_at_key(self.source, code, severity, key, (message, remedy))

    def find_in_sample(self, code: str, severity: Severity, key: str, message: str, remedy: str) -> Finding:
        """Make a finding at a key of the sample."""
        return find_at_sample(self.source, code, severity, key, (message, remedy))


def find_at_key(source: ModelSource, code: str, severity: Severity, key: Key, said: tuple[str, str]) -> Finding:
    """Make a finding of what is said at a key of a model's config: a message and a remedy."""
    path = (source.folder / Path(source.config).name).absolute()
    dotted, line = locate(path, ("model", *key))
    return Finding(code, severity, source.config, path, line, dotted, *said)


def find_at_sample(source: ModelSource, code: str, severity: Severity, key: str, said: tuple[str, str]) -> Finding:
    """Make a finding at a key of a model's sample."""
    file = f"{os.path.dirname(source.config)}/{SAMPLE_NAME}"
    return Finding(code, severity, file, (source.folder / SAMPLE_NAME).absolute(), 1, key, *said)


def find_problems(source: ModelSource, code: str, problems: Sequence[str], severity: Severity) -> Iterator[Finding]:
    """Make findings of problems that another part of a build has told, with their places."""
    for problem in problems:
        match = _PROBLEM.fullmatch(problem)
        if match and match["file"].endswith(f"/{SAMPLE_NAME}"):
            yield find_at_sample(source, "sample-unfit", severity, "(top)", (match["text"], ""))
        elif match and match["file"] == source.config:
            key = tuple((match["key"] or "model_args").split("."))
            yield find_at_key(source, code, severity, key, (match["text"], ""))
        else:
            yield find_at_key(source, code, severity, ("model_args",), (problem, ""))


def read_findings(
    models: Path, problems: Sequence[str], code: str = "config", severity: Severity = "error"
) -> Iterator[Finding]:
    """Make findings of configs that could not be read, which say file and line themselves."""
    for problem in problems:
        match = _PROBLEM.fullmatch(problem)
        file, line, key, text = match.group("file", "line", "key", "text") if match else (models.name, "1", "", problem)
        path = (models.parent / file).absolute()
        yield Finding(code, severity, file, path, int(line or 1), f"model.{key}" if key else "(top)", text, "")
