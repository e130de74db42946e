"""Two measurements side by side, and which differences are more than how far the seconds of one lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.table import format_table
from schwift.load.bench_document import BenchDocument
from schwift.load.bench_server import BenchProblem
from schwift.load.step_result import StepResult

_HEAD = ("MODEL", "STEP", "", "A", "B", "B / A", "")
# Quartiles of fewer seconds say nothing, and neither does a shorter one.
_FEWEST_SECONDS, _WHOLE_SECOND = 5, 0.99
# A difference that nobody minds, however steady both are.
_LEAST_DIFFERENCE = 0.02


@dataclass(frozen=True)
class ComparedValue:
    """One number of one step in both. `verdict` is better, worse, within noise, or too short to tell.

    It is empty for as many errors in both.
    """

    model: str
    step: str
    what: str
    before: float
    after: float
    verdict: str

    @property
    def ratio(self) -> float:
        """How many times the first the second is; 0 without a first."""
        return self.after / self.before if self.before else 0.0


def compare_documents(before: BenchDocument, after: BenchDocument) -> list[ComparedValue]:
    """Compare the steps that both have. Raises BenchProblem if there is none."""
    others = {_key(result): result for result in after.results}
    pairs = [(result, others[_key(result)]) for result in before.results if _key(result) in others]
    if not pairs:
        raise BenchProblem("the two have no step in common: measure the same model, endpoint, rows and connections")
    return [value for pair in pairs for value in _compare_steps(*pair)]


def format_comparison(before: BenchDocument, after: BenchDocument) -> str:
    """Format the table of all that both have, with what it is of."""
    values = compare_documents(before, after)
    rows = [
        [value.model, value.step, value.what, f"{value.before:,.2f}", f"{value.after:,.2f}", f"{value.ratio:.2f}",
         value.verdict]
        for value in values
    ]  # fmt: skip
    lines = [f"{name}: {_describe(document.about)}" for name, document in (("A", before), ("B", after))]
    lines += ["", format_table(_HEAD, rows), ""]
    lines += _differing_options(before.about, after.about)
    lines.append(
        f"better, worse: by more than {_LEAST_DIFFERENCE:.0%}, and the middle halves of their seconds lie apart."
    )
    return "\n".join(lines)


def _key(result: StepResult) -> tuple[str, str, int, str, bool]:
    return result.model, result.endpoint, result.rows, result.label, result.poisson


def _compare_steps(before: StepResult, after: StepResult) -> list[ComparedValue]:
    compared = [
        ("answers/s", before.throughput, after.throughput, "good", True),
        ("p50 ms", before.latency_ms["p50"], after.latency_ms["p50"], "p50_ms", False),
        ("p99 ms", before.latency_ms["p99"], after.latency_ms["p99"], "p99_ms", False),
    ]
    values = [
        ComparedValue(
            before.model, before.label, what, old, new,
            _judge(old, new, _series(before, name), _series(after, name), more_is_better),
        )
        for what, old, new, name, more_is_better in compared
    ]  # fmt: skip
    if before.errors or after.errors:
        verdict = "worse" if after.errors > before.errors else "better" if after.errors < before.errors else ""
        values.append(ComparedValue(before.model, before.label, "errors", before.errors, after.errors, verdict))
    return values


def _series(result: StepResult, name: str) -> list[float]:
    """Return a number for each whole second; those without an answer have no latency."""
    whole = [second for second in result.per_second if second["seconds"] >= _WHOLE_SECOND]
    return [second[name] for second in whole if name == "good" or second["good"]]


def _judge(old: float, new: float, before: Sequence[float], after: Sequence[float], more_is_better: bool) -> str:
    if min(len(before), len(after)) < _FEWEST_SECONDS:
        return "too short to tell"
    low_before, high_before = np.percentile(before, (25, 75))
    low_after, high_after = np.percentile(after, (25, 75))
    grew = new > old * (1 + _LEAST_DIFFERENCE) and low_after > high_before
    shrank = new < old * (1 - _LEAST_DIFFERENCE) and high_after < low_before
    if not grew and not shrank:
        return "within noise"
    return "better" if grew == more_is_better else "worse"


def _describe(about: Mapping[str, Any]) -> str:
    machine = about["machine"]
    return f"{about['url']} at {about['at']}, schwift {about['schwift']}, {machine['cores']} cores"


def _differing_options(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = [name for name in before["options"] if before["options"][name] != after["options"].get(name)]
    lines = [f"{name}: {before['options'][name]} in A, {after['options'].get(name)} in B" for name in names]
    if before["machine"] != after["machine"]:
        lines.append("A and B were measured on different machines.")
    return lines
