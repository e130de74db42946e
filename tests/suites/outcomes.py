"""What became of each part of a suite, and the table of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from converter.table import format_table

State = Literal["passed", "FAILED", "left out", "not reachable"]
_HEAD = ("SUITE", "PART", "RESULT", "WHY")
_LINE = re.compile(r"^(PASS|FAIL) ([^:\n]+?)(?:: (.*))?$", re.MULTILINE)
_STATES: dict[str, State] = {"PASS": "passed", "FAIL": "FAILED"}


@dataclass(frozen=True)
class Outcome:
    """One row: `why` says what failed, or why it is left out."""

    suite: str
    part: str
    state: State
    why: str = ""


def read_lines(suite: str, parts: Iterable[str], output: str, code: int) -> list[Outcome]:
    """Read what a program of `programs/` printed: for each part a line, `PASS part` or `FAIL part: why`.

    A part that it did not come to has failed.
    """
    said = {part: (_STATES[state], why) for state, part, why in _LINE.findall(output)}
    last = output.strip().rpartition("\n")[2]
    missing: tuple[State, str] = ("FAILED", f"the program ended with {code}: {last}")
    names = [*parts, *(name for name in said if name not in parts)]
    return [Outcome(suite, name, *said.get(name, missing)) for name in names]


def report(outcomes: list[Outcome], seconds: float) -> str:
    """Return the table, and a line that counts."""
    rows = [[one.suite, one.part, one.state, shorten(one.why)] for one in outcomes]
    counts = {state: sum(one.state == state for one in outcomes) for state in ("passed", "FAILED", "left out")}
    away = len(outcomes) - sum(counts.values())
    counted = ", ".join(f"{count} {state.lower()}" for state, count in counts.items())
    return f"{format_table(_HEAD, rows)}\n\n{counted}, {away} not reachable; {seconds:.0f} s"


def shorten(text: str, most: int = 160) -> str:
    """Return it as one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
