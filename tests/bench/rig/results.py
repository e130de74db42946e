"""What a benchmark found: rounds of a number, bars it is held to, and the table, the JSON and the exit code of both."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def noise(values: Sequence[float]) -> float:
    """How far the rounds lie apart, as a part of their median."""
    return (max(values) - min(values)) / median(values)


@dataclass(frozen=True)
class Bar:
    """A figure to be reached: `value` at least (or at most) `bar`."""

    what: str
    value: float
    bar: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    @property
    def line(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"| {self.what} | {self.value:.2f} | {sign} {self.bar:g} | {'ok' if self.met else 'MISSED'} |"


@dataclass
class Results:
    """Everything of one run."""

    tables: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [f"### {title}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        text = "\n".join(lines) + "\n"
        self.tables.append(text)
        print(text, flush=True)

    @property
    def met(self) -> bool:
        return all(bar.met for bar in self.bars)

    def finish(self, folder: Path, name: str = "bench") -> None:
        """Print the bars, and write `<name>.md` and `<name>.json`."""
        if self.bars:
            lines = [
                "### Bars",
                "",
                "| what | measured | bar | |",
                "|---|---|---|---|",
                *(bar.line for bar in self.bars),
            ]
            self.tables.append("\n".join(lines) + "\n")
            print(self.tables[-1], flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text("\n".join(self.tables), encoding="utf-8")
        data = {"bars": [asdict(bar) | {"met": bar.met} for bar in self.bars], **self.raw}
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
