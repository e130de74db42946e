"""Keys of a test, made as operators make them: with the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def keys_command(file: Path, *arguments: str) -> str:
    """What `schwift keys …` printed; it did not fail."""
    done = subprocess.run(
        [sys.executable, "-m", "schwift", "keys", *arguments, "--file", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def add_key(file: Path, name: str, *options: str) -> str:
    return keys_command(file, "add", name, *options)
