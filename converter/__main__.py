"""`schwift`, and `python -m converter`."""

from __future__ import annotations

import os

from converter import cli
from converter.spec import lossy


def main() -> None:
    # What is written holds models, keys and clients' rows: it is for this user alone.
    os.umask(0o077)
    lossy.take_over_standard_streams()
    cli.main()


if __name__ == "__main__":
    main()
