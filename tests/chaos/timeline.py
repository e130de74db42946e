"""A picture of the run: what was answered, what was not, and which faults there were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot

from tests.chaos.faults import Mark
from tests.chaos.load import Event

matplotlib.use("Agg")
_BIN_SECONDS = 0.5


def draw(events: Sequence[Event], marks: Sequence[Mark], began: float, path: Path) -> None:
    """Right answers of each model and errors of each code over time, under the faults."""
    last = max(event.at for event in events) - began
    edges = np.arange(0, last + _BIN_SECONDS, _BIN_SECONDS)
    figure, (faults, answers, errors) = pyplot.subplots(
        3, 1, sharex=True, figsize=(min(40, max(12, last / 12)), 9), height_ratios=(1.2, 2, 2)
    )
    for model in sorted({event.model for event in events}):
        times = [event.at - began for event in events if (event.model, event.code) == (model, "ok")]
        answers.plot(edges[:-1], np.histogram(times, edges)[0] / _BIN_SECONDS, label=model, lw=1)
    below = np.zeros(len(edges) - 1)
    for code in sorted({event.code for event in events} - {"ok"}):
        times = [event.at - began for event in events if event.code == code]
        height = np.histogram(times, edges)[0] / _BIN_SECONDS
        errors.bar(edges[:-1], height, _BIN_SECONDS, below, align="edge", label=code)
        below += height
    kinds = sorted({mark.kind for mark in marks})
    for mark in marks:
        start, end = mark.began - began, mark.recovered - began if mark.recovered else last
        faults.barh(kinds.index(mark.kind), end - start, left=start, color="C3", height=0.7)
        for axis in (answers, errors):
            axis.axvspan(start, end, color="C3", alpha=0.12, lw=0)
    faults.set_yticks(range(len(kinds)), kinds)
    faults.set_title("Faults, until all was well again")
    answers.set_ylabel("right answers/s")
    errors.set(ylabel="errors/s", xlabel="seconds", xlim=(0, last))
    for axis in (answers, errors):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper right", fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
