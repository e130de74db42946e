"""A measurement as a picture: percentiles, throughput over time, and for a ramp latency against throughput.

matplotlib is imported when it is drawn.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from schwift.load.bench_document import BenchDocument
from schwift.load.bench_server import BenchProblem
from schwift.load.latency_histogram import LatencyHistogram
from schwift.load.load_record import is_good
from schwift.load.step_result import StepResult

# Nines: 1 is the 90th percentile, 4 the 99.99th.
_MOST_NINES = 5
_POINTS = 200


def check_plotting() -> None:
    """Raise BenchProblem if matplotlib is not there: before the measurement, and not after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchProblem("--png needs matplotlib, which is not installed: pip install 'schwift[plot]'")


def draw(document: BenchDocument, path: Path) -> None:
    """Draw all steps into a PNG. Raises BenchProblem if it cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    has_ramp = len(document.results) > len({result.model for result in document.results})
    panels = 3 if has_ramp else 2
    figure, axes = pyplot.subplots(1, panels, figsize=(6 * panels, 4.5))
    for result in document.results:
        name = f"{result.model}, {result.label}"
        _draw_percentiles(axes[0], result, name)
        starts = np.cumsum([0.0, *(second["seconds"] for second in result.per_second)])[1:]
        rates = [second["good"] / second["seconds"] for second in result.per_second]
        axes[1].plot(starts, rates, label=name, marker=".")
    if has_ramp:
        _draw_ramps(axes[2], document)
    _name_axes(axes, document.about)
    figure.tight_layout()
    try:
        figure.savefig(path, format="png", dpi=110)
    except OSError as error:
        raise BenchProblem(f"{path} cannot be written: {error.strerror}") from error
    finally:
        pyplot.close(figure)


def _draw_percentiles(axis: Any, result: StepResult, name: str) -> None:
    joined = LatencyHistogram()
    for outcome, saved in result.histograms.items():
        if is_good(outcome):
            joined.add(LatencyHistogram.from_json(saved))
    if not joined.count:
        return
    nines = np.linspace(0, min(_MOST_NINES, np.log10(joined.count) if joined.count > 1 else 0.1), _POINTS)
    values = [joined.percentile(100 * (1 - 10.0**-nine)) * 1e3 for nine in nines]
    axis.plot(nines, values, label=name)


def _draw_ramps(axis: Any, document: BenchDocument) -> None:
    for model in dict.fromkeys(result.model for result in document.results):
        steps = [result for result in document.results if result.model == model]
        rates = [result.throughput for result in steps]
        for percentile, style in (("p50", "--"), ("p99", "-")):
            times = [result.latency_ms[percentile] for result in steps]
            axis.plot(rates, times, style, marker="o", label=f"{model} {percentile}")
        for result, rate in zip(steps, rates, strict=True):
            asked = result.connections if result.rate is None else f"{result.rate:g}/s"
            axis.annotate(str(asked), (rate, result.latency_ms["p99"]), textcoords="offset points", xytext=(4, 4))
    axis.set(title="latency against throughput", xlabel="answers/s", ylabel="ms", yscale="log")


def _name_axes(axes: Any, about: dict[str, Any]) -> None:
    ticks = range(_MOST_NINES + 1)
    axes[0].set(title="latency of good answers", xlabel="percentile", ylabel="ms", yscale="log")
    axes[0].set_xticks(list(ticks), ["0", *(f"{100 * (1 - 10.0**-tick):.6g}" for tick in ticks[1:])])
    axes[1].set(title="throughput", xlabel="seconds", ylabel="answers/s")
    axes[1].set_ylim(bottom=0)
    for axis in axes:
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    axes[0].figure.suptitle(f"{about['url']}, {about['at']}", fontsize="small")
