"""How pip works on this machine, for the pip inside a build; nothing of it stays in an image."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_FILE = "file://"


def pip_settings(text: str) -> dict[str, str]:
    """`pip config list` as one mapping; the environment, which it names `:env:`, wins over the files."""
    settings: dict[str, str] = {}
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    for name, value in sorted(lines, key=lambda line: line[0].startswith(":env:")):
        section, _, option = name.partition(".")
        if section in ("global", ":env:"):
            settings[option] = str(ast.literal_eval(value))
    return settings


def pip_conf(settings: Mapping[str, str]) -> str:
    lines = [f"{option} = {' '.join(value.split())}" for option, value in sorted(settings.items())]
    return "\n".join(["[global]", *lines, ""])


def needed_paths(settings: Mapping[str, str]) -> list[str]:
    """What a build must see of this machine's disk: an index's pages and its files are below one folder."""
    words = [word for value in settings.values() for word in value.split()]
    paths = [str(Path(word.removeprefix(_FILE)).parent) for word in words if word.startswith(_FILE)]
    paths += [word for word in words if word.startswith("/")]
    return sorted({path for path in paths if Path(path).exists()})


def volumes(folder: Path) -> list[str]:
    """Options for a build: pip.conf, written to `folder`, and the paths that it names."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    settings = pip_settings(listed)
    conf = folder / "pip.conf"
    conf.write_text(pip_conf(settings), encoding="utf-8")
    shared = [f"{conf}:/etc/pip.conf", *(f"{path}:{path}" for path in needed_paths(settings))]
    return [option for volume in shared for option in ("--volume", f"{volume}:ro")]
