"""`schwift bench`: models of a running server under load, step by step, and what comes of it."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import uvloop

from converter.schema.settings import Settings
from schwift.commands.model_memory import server_address
from schwift.load.bench_comparison import format_comparison
from schwift.load.bench_document import BenchDocument, check_writable, describe, load_document, save_document
from schwift.load.bench_plots import check_plotting, draw
from schwift.load.bench_report import format_results
from schwift.load.bench_server import BenchProblem, BenchServer, allow_connections
from schwift.load.load_generator import LoadGenerator, LoadStep
from schwift.load.load_record import LoadRecord
from schwift.load.progress_bar import ProgressBar
from schwift.load.served_examples import BenchModel, choose_models
from schwift.load.step_result import StepResult, summarise

_INTERRUPTED = 130
_CLIENTS, _OPEN_CONNECTIONS = 16, 1000
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class BenchOptions:
    """What the command line says: of each step the connections in `ramp`, or the requests a second in `rates`.

    Times are in seconds.
    """

    endpoint: str = "predict"
    rows: int = 1
    data: Path | None = None
    connections: int | None = None
    ramp: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    poisson: bool = False
    duration: float = 10.0
    warmup: float = 1.0
    timeout: float = 30.0
    most_p99_ms: float | None = None
    check: bool = False

    def steps(self) -> list[LoadStep]:
        """Return the steps that each model is loaded with. Raises BenchProblem for options that do not go together."""
        if self.ramp and (self.rates or self.connections):
            raise BenchProblem("--ramp has the connections of each step: leave out --connections and --rate")
        if self.poisson and not self.rates:
            raise BenchProblem("--poisson is about when requests are due: say how many a second by --rate")
        if self.endpoint == "predict_batched" and self.rows > 1:
            raise BenchProblem("predict_batched takes one row a request: leave out --rows, or ask --endpoint predict")
        if self.data is not None and self.rows > 1:
            raise BenchProblem("the bodies in --data have their own rows: leave out --rows")
        step = LoadStep(
            self.connections or _CLIENTS,
            poisson=self.poisson,
            duration=self.duration,
            warmup=self.warmup,
            timeout=self.timeout,
        )
        if self.rates:
            return [replace(step, rate=rate, connections=self.connections or _OPEN_CONNECTIONS) for rate in self.rates]
        return [replace(step, connections=count) for count in self.ramp or (step.connections,)]


def run_bench(
    server: BenchServer, names: Sequence[str], options: BenchOptions, outputs: Mapping[str, Path | None]
) -> int:
    """Measure, print, and write the files in `outputs`, `json` and `png`; return the exit code. Raises BenchProblem."""
    check_writable(list(outputs.values()))
    if outputs.get("png") is not None:
        check_plotting()
    steps = options.steps()
    allow_connections(max(step.connections for step in steps))
    models = choose_models(server, names, options.endpoint, options.rows, options.data)
    about = server.get("/v2")
    results, interrupted = uvloop.run(_measure(server, models, steps, options.check))
    if results:
        click.echo(format_results(results, options.most_p99_ms))
    said = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    document = describe(server.url, about, said, interrupted)
    document.results.extend(results)
    _write(document, outputs)
    if interrupted:
        return _INTERRUPTED
    return 0 if all(result.is_clean for result in results) else 1


def show_comparison(before: Path, after: Path) -> None:
    """Print two measurements side by side. Raises BenchProblem if they have nothing in common."""
    click.echo(format_comparison(load_document(before), load_document(after)))


def open_server(settings: Settings, url: str | None, key_file: Path | None) -> BenchServer:
    """Return the server at a URL, or at the settings' address. Raises BenchProblem if it is no URL."""
    try:
        key = None if key_file is None else key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchProblem(f"{key_file} cannot be read: {error}") from error
    return BenchServer(url or server_address(settings), key)


async def _measure(
    server: BenchServer, models: Sequence[BenchModel], steps: Sequence[LoadStep], check: bool
) -> tuple[list[StepResult], bool]:
    """Run every step of every model, one after the other; Ctrl-C ends with those that there are."""
    interrupted = asyncio.Event()
    results: list[StepResult] = []
    runs = [(model, step) for model in models for step in steps]
    for number, (model, step) in enumerate(runs):
        load = LoadGenerator(server.target(model.path, model.bodies), step, LoadRecord(check))
        await _run(load, interrupted, functools.partial(_progress, number, len(runs), model, step))
        if load.record.length > 0:
            results.append(summarise(model, step, load))
        if interrupted.is_set():
            break
    return results, interrupted.is_set()


async def _run(
    load: LoadGenerator, interrupted: asyncio.Event, progress: Callable[[LoadGenerator], tuple[float, str]]
) -> None:
    """Run one step behind a progress bar; Ctrl-C stops it and sets `interrupted`, and twice ends the program."""
    loop = asyncio.get_running_loop()
    bar = ProgressBar()

    def stop() -> None:
        interrupted.set()
        load.stop()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        await load.run(lambda load: bar.show(*progress(load)), _PROGRESS_SECONDS)
    finally:
        bar.clear()


def _progress(number: int, steps: int, model: BenchModel, step: LoadStep, load: LoadGenerator) -> tuple[float, str]:
    """Return how much of all steps is done, and what is seen of this one."""
    elapsed, whole = load.elapsed, step.warmup + step.duration
    seen = f"{load.record.failed:,} errors" if elapsed >= step.warmup else "warms up"
    for second in load.record.seconds[-1:]:
        seen = f"{second.good / second.seconds:,.0f} answers/s  p99 {second.p99_ms:.1f} ms  {seen}"
    # What changes comes first, where a narrow terminal cuts nothing off.
    text = f"{min(elapsed, whole):.0f} of {whole:g} s  {seen}  {number + 1}/{steps} {model.name}  {step.label}"
    return (number + min(elapsed / whole, 1.0)) / steps, text


def _write(document: BenchDocument, outputs: Mapping[str, Path | None]) -> None:
    if (path := outputs.get("json")) is not None:
        save_document(path, document)
    if (path := outputs.get("png")) is not None and document.results:
        draw(document, path)
