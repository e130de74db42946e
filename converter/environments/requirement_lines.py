"""The file of requirements beside a model: names and versions, comments, and nothing else that pip would take."""

from __future__ import annotations

import re
from pathlib import Path

from converter.errors import ConfigError
from converter.schema.requirement import check_requirement

_MOST_BYTES = 64 * 1024
# As pip has it.
_COMMENT = re.compile(r"(^|\s+)#.*$")


def read_requirements(path: Path, shown: str) -> tuple[str, ...]:
    """Read a file of requirements, called `shown` in messages. Raises ConfigError with a line for each problem."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: not UTF-8 at byte {error.start}: save the file as UTF-8") from error
    if len(raw) > _MOST_BYTES:
        raise ConfigError(f"{shown}: {len(raw)} bytes: a file of requirements is at most {_MOST_BYTES} bytes")
    lines: list[str] = []
    problems: list[str] = []
    for number, written in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", written).strip()
        if line:
            try:
                lines.append(check_requirement(line))
            except ValueError as error:
                problems.append(f"{shown}:{number}: {error}")
    if not lines and not problems:
        problems.append(f"{shown}: no requirement in it: write one in each line, as in scikit-learn==1.7.2")
    if problems:
        raise ConfigError(problems)
    return tuple(lines)
