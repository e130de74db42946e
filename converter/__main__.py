"""`python -m converter`: the commands that build."""

from __future__ import annotations

import os
from collections.abc import Callable

from converter import cli
from converter.schema import lossy_stream


def run(command: Callable[[], object]) -> None:
    """Run a command line, with files that are this user's alone and output that never fails."""
    # What is written holds models, keys and clients' rows: it is for this user alone.
    os.umask(0o077)
    lossy_stream.take_over_standard_streams()
    command()


def main() -> None:
    """Run the commands that build."""
    run(cli.main)


if __name__ == "__main__":
    main()
