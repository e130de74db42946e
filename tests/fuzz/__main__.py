"""`make fuzz`: generated requests to a real server, and generated bodies for the codec; by hand, since it is long.

Every answer is checked: no status but those of the contract, no invalid JSON, no wrong number; the server lives, is
ready, has not grown and has written no traceback in the end. Exit code 1 with the smallest case where anything fails.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.fuzz import api, codec, guided, heads, subjects
from tests.fuzz.survival import surviving
from tests.support.servers.server import serving, stop_on_sigterm

PARTS = ("api", "heads", "codec", "guided")


@click.command(help=__doc__)
@click.option("--cases", default=10_000, show_default=True, help="Of each kind of request and body.")
@click.option("--seconds", default=300, show_default=True, help="Of coverage-guided fuzzing, all targets together.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts; all by default.")
def main(cases: int, seconds: int, only: tuple[str, ...]) -> None:
    stop_on_sigterm()
    wanted = only or PARTS
    if "codec" in wanted:
        for part in (codec.fuzz_decoder, codec.fuzz_encoder, codec.fuzz_json):
            _timed(part.__name__, cases, lambda part=part: part(cases))  # type: ignore[misc]  # the loop's value, bound
    if "guided" in wanted:
        for target in guided.TARGETS:
            guided.run(target, seconds // len(guided.TARGETS))
    if {"api", "heads"} & set(wanted):
        with tempfile.TemporaryDirectory(prefix="schwift-fuzz-") as name:
            folder = Path(name)
            subjects.write(folder / "models")
            with serving(folder / "models", folder) as server, surviving(server):
                if "api" in wanted:
                    _timed("requests from OpenAPI", cases, lambda: api.fuzz_api(server, cases))
                if "heads" in wanted:
                    _timed("heads", cases, lambda: heads.fuzz_heads(server, cases))
    sys.exit(0)


def _timed(what: str, cases: int, part: Callable[[], object]) -> None:
    began = time.monotonic()
    part()
    print(f"{what}: {cases} cases in {time.monotonic() - began:.0f} s, none wrong", flush=True)


if __name__ == "__main__":
    main()
