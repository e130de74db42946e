"""The command `schwift`, and `python -m schwift`."""

from __future__ import annotations

from converter.__main__ import run
from schwift import cli


def main() -> None:
    """Run all commands."""
    run(cli.main)


if __name__ == "__main__":
    main()
