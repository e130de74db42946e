"""`schwift scan PATH…`: parse, call, print, exit code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from converter.errors import ConfigError
from converter.schema.settings import load_settings
from converter.trust.operator_trust import OperatorTrust, read_trust
from converter.trust.scan import ALLOWED, NO_CODE, TOO_LARGE, FileReport, list_files

# For each file, and for each byte: what a slow disk and lzma need.
_SECONDS = 60.0
_BYTES_A_SECOND = 20 * 1024 * 1024
_MOST_SHOWN = 20


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it. [text]")
def scan(paths: tuple[Path, ...], form: str) -> None:
    """Say what models' files would run when they are loaded, without running it.

    PATH is a file, or a folder whose models are read. Exit code 0, or 1 if a file is refused, damaged or too large.
    """
    files = list_files(list(paths))
    if not files:
        raise ConfigError(f"{paths[0]}: no model's file here: name a file, or a folder that holds some")
    reports = scan_files(files, read_trust(load_settings()))
    if form == "json":
        click.echo(json.dumps([report.to_json() for report in reports], indent=2))
    else:
        click.echo("\n".join(line for report in reports for line in _format_report(report)))
    if not all(report.verdict in (ALLOWED, NO_CODE) for report in reports):
        sys.exit(1)


def scan_files(files: Sequence[Path], trust: OperatorTrust) -> list[FileReport]:
    """Have a bounded process read the files; for one that ends it there is another for the rest."""
    reports: list[FileReport] = []
    while len(reports) < len(files):
        rest = files[len(reports) :]
        reports += map(_read_report, _run_worker(rest, trust))
        if len(reports) < len(files):
            path = str(files[len(reports)])
            reports.append(
                FileReport(path, TOO_LARGE, "reading it takes more memory or time than a file of its size may")
            )
    return reports


def _run_worker(files: Sequence[Path], trust: OperatorTrust) -> list[bytes]:
    isolated = ["-I"] if sys.flags.isolated else []
    size = sum(path.stat().st_size for path in files)
    try:
        done = subprocess.run(
            [sys.executable, *isolated, "-m", "converter.trust.scan_worker"],
            input=pickle.dumps(([path.absolute() for path in files], trust)),
            # Modules in the current folder must not stand in for ours.
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS + size / _BYTES_A_SECOND,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        output = done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    # A line that is not whole is none.
    return output.split(b"\n")[:-1]


def _read_report(line: bytes) -> FileReport:
    said: dict[str, Any] = json.loads(line)
    for key in ("uses", "refused"):
        said[key] = tuple(tuple(use) for use in said[key])
    return FileReport(**{**said, "own": tuple(said["own"]), "versions": tuple(said["versions"])})


def _format_report(report: FileReport) -> list[str]:
    versions = f" ({', '.join(report.versions)})" if report.versions else ""
    lines = [f"{report.path}: {report.verdict}{versions}"]
    if report.reason:
        lines.append(f"  {report.reason}")
    lines += [f"  reads code of {file}, beside it: read it" for file in report.own]
    lines += [f"  {use}: {module}.{name}" for module, name, use in report.refused[:_MOST_SHOWN]]
    if len(report.refused) > _MOST_SHOWN:
        lines.append(f"  and {len(report.refused) - _MOST_SHOWN} more")
    if report.sha256:
        lines.append(f"  sha256 {report.sha256}")
    return lines
