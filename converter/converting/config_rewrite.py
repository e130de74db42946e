"""A config with some keys of its model changed, and all else as the user wrote it, comments too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from converter.authoring.described_config import quote


def rewrite(text: str, changes: Mapping[str, Any], head: str) -> str:
    """Change these keys of `model`, or remove those that are to be None; `head` is a comment above all.

    A config that is written on few lines, with braces, loses its comments.
    """
    wanted = yaml.safe_load(text)
    for key, value in changes.items():
        wanted["model"].pop(key, None)
        if value is not None:
            wanted["model"][key] = value
    comments = "".join(f"# {line}\n" for line in head.splitlines())
    edited = _edit(text, changes)
    if _parse(edited) != wanted:
        edited = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
    return comments + edited


def _edit(text: str, changes: Mapping[str, Any]) -> str:
    """Put other lines in the place of each key's own."""
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    model = next(value for key, value in root.value if key.value == "model")
    lines = text.splitlines(keepends=True)
    pending = dict(changes)
    spans = [(key.value, key.start_mark, _end_of(value)) for key, value in model.value]
    indent = " " * (spans[0][1].column if spans else 2)
    for name, start, end in reversed(spans):
        if name in changes:
            value = pending.pop(name)
            lines[start.line : end + 1] = [] if value is None else [f"{indent}{name}: {quote(value)}\n"]
    after = spans[0][1].line if spans else 0
    lines[after:after] = [
        f"{indent}{name}: {quote(value)}\n" for name, value in pending.items() if value is not None
    ]  # fmt: skip
    return "".join(lines)


def _end_of(node: Any) -> int:
    """Return the last line of a value; a block ends where the next key begins."""
    last = node
    while last.value and isinstance(last.value, list) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    return int(last.end_mark.line)


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
