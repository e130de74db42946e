"""Models → findings: what their files and their config say, and what they do when they are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from converter.authoring.original import describe_form, split_rows
from converter.checking import input_rules, machine_rules, output_rules, row_rules, value_rules
from converter.checking.dry_runs import Attempt, Bounds, try_models
from converter.checking.findings import Finding
from converter.checking.subject import Subject, find_problems
from converter.errors import ConfigError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.plan import BuildOptions
from converter.repository.tensors import resolve
from converter.schema.samples.sample_file import SAMPLE_NAME, BadSample, read_sample

Rule = Callable[[Subject], Iterator[Finding]]

# Of the config alone.
_MACHINE: tuple[Rule, ...] = (
    machine_rules.check_instances,
    machine_rules.check_body,
    machine_rules.check_memory,
    machine_rules.check_batches,
)
# Of what the model said when it was tried.
_TRIED: tuple[Rule, ...] = (
    row_rules.check_loading,
    row_rules.check_method,
    input_rules.check_names,
    input_rules.check_arguments,
    value_rules.check_dtypes,
    value_rules.check_sample_values,
    value_rules.check_precision,
    value_rules.check_nulls,
    value_rules.check_likeness,
    row_rules.check_refused,
    row_rules.check_finite,
    row_rules.check_independence,
    output_rules.check_outputs,
    output_rules.check_labels,
    output_rules.check_classes,
    output_rules.check_graph_classes,
    row_rules.check_sample,
)
# What is wrong with the form of the rows shows in each row, too.
_OF_THE_FORM = (
    "columns-missing", "columns-differ", "features-count", "arguments-differ", "sample-unfit", "method-missing",
    "dtype-differs",
)  # fmt: skip
_ITS_TRACES = ("row-fails", "not-tried", "sample-differs", "float32-loses", "answer-unfit", "null-fails")
# What its answers are shows in the comparison with the sample, too.
_OF_THE_ANSWER = ("output-shape", "output-dtype", "output-count")


def check_models(
    sources: Sequence[ModelSource],
    facts: Mapping[str, ModelFacts],
    options: BuildOptions,
    scratch: Path,
    bounds: Bounds | None,
) -> dict[str, list[Finding]]:
    """Try models that were looked into, and return what is wrong with each, by name, the worst first.

    Without bounds none is tried. Raises ConfigError for a file that changes meanwhile.
    """
    subjects: list[Subject] = []
    found: dict[str, list[Finding]] = {name: [] for name in facts}
    for source in sources:
        name = source.spec.name
        if name not in facts:
            continue
        try:
            subjects.append(_prepare(source, facts[name], options))
        except ConfigError as error:
            found[name] += find_problems(source, "tensors-differ", error.problems, "error")
    attempts = [Attempt(each.source, each.facts, _count_rows(each) != 1) for each in subjects]
    said = try_models(attempts, scratch, options.cores, bounds) if bounds else {}
    rules = (*_MACHINE, *_TRIED) if bounds else _MACHINE
    for subject in subjects:
        name = subject.spec.name
        known = replace(subject, said=said.get(name, {}))
        found[name] = _drop_traces(finding for rule in rules for finding in _apply(rule, known))
    return found


def _apply(rule: Rule, subject: Subject) -> list[Finding]:
    """Return what a rule finds; one that fails, at a model as nobody has seen, keeps no build from what it is for."""
    try:
        return list(rule(subject))
    except Exception as error:
        text = f"{rule.__name__} failed: {type(error).__name__}: {error}"
        return [subject.find("not-tried", "warning", ("model_args",), text, "tell us how this model was made")]


def _prepare(source: ModelSource, facts: ModelFacts, options: BuildOptions) -> Subject:
    """Read what there is beside the model. Raises ConfigError for tensors or a sample that do not fit."""
    tensors = resolve(source, facts)
    form = describe_form(source, facts)
    sample, given = None, []
    if SAMPLE_NAME in source.files:
        where = f"{source.folder.parent.name}/{source.folder.name}/{SAMPLE_NAME}"
        try:
            sample = read_sample(source.path_of(SAMPLE_NAME))
            if sample is not None:
                given = split_rows(form, sample.features)
        except BadSample as error:
            raise ConfigError(f"{where}: {error}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"{where}: features: these are no rows as the config has them: {error}") from error
    return Subject(source, facts, options, tensors.outputs, form, sample, given)


def _count_rows(subject: Subject) -> int:
    """Count the most rows that the model gets at once."""
    spec = subject.spec
    usual = subject.options.settings.max_batch_size
    return spec.max_batch_size or max(*(spec.preferred_batch_size or (usual,)), spec.rush_batch_size or 0)


def _drop_traces(findings: Iterable[Finding]) -> list[Finding]:
    """Drop what follows from another finding, and bring the worst to the front."""
    found = list(findings)
    codes = {finding.code for finding in found if finding.severity == "error"}
    follows: set[str] = set()
    if codes & set(_OF_THE_FORM):
        follows |= set(_ITS_TRACES) | set(_OF_THE_ANSWER)
    if codes & set(_OF_THE_ANSWER):
        follows |= {"sample-differs", "classes-differ", "labels-as-floats"}
    order = ("error", "warning", "note")
    return sorted((item for item in found if item.code not in follows), key=lambda item: order.index(item.severity))
