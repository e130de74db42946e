"""What is known of a model → the text of its config, with a comment on each value that says where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
_MOST_CLASSES = 200
_COLUMN = 40


@dataclass(frozen=True)
class ConfigDraft:
    """`inputs` and `outputs` are tensors: name, shape of a row, dtype, columns; each `from` is a comment."""

    name: str
    backend: str
    origin: str
    args: dict[str, Any]
    inputs: Sequence[dict[str, Any]]
    outputs: Sequence[dict[str, Any]]
    requirements: str | None = None
    trusted: bool = False
    classes: Sequence[Any] | None = None
    verify: dict[str, float] | None = None
    comments: dict[str, str] = field(default_factory=dict)


def write_text(draft: ConfigDraft, *head: str) -> str:
    """Write a config; `head` are its first lines."""
    lines: list[tuple[str, str]] = [("model:", "")]
    lines.append((f"  name: {quote(draft.name)}", draft.comments.get("name", "")))
    lines.append((f"  backend: {draft.backend}", draft.origin))
    lines.append(("  model_args:", ""))
    for key, value in draft.args.items():
        if value not in ({}, None):
            lines.append((f"    {key}: {quote(value)}", draft.comments.get(key, "")))
    if draft.requirements is not None:
        lines.append((f"  requirements: {draft.requirements}", draft.comments.get("requirements", "")))
    if draft.trusted:
        lines.append(("  trusted: true", "it runs code, and SCHWIFT_TRUST_FOLDERS names this folder"))
    if draft.classes is not None and len(draft.classes) <= _MOST_CLASSES:
        lines.append((f"  classes: {quote(list(draft.classes))}", "classes_, in the order of the probabilities"))
    if draft.verify is not None:
        lines.append((f"  verify: {quote(draft.verify)}", draft.comments.get("verify", "")))
    for key, tensors in (("input", draft.inputs), ("output", draft.outputs)):
        lines.append((f"  {key}:", ""))
        for tensor in tensors:
            lines += _write_tensor(tensor, named=len(tensors) > 1)
    return "".join(f"# {line}\n" for line in head) + "".join(_align(text, comment) for text, comment in lines)


def quote(value: Any) -> str:
    """Write a value in YAML, on one line."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quote(key)}: {quote(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(quote, value)) + "]"
    return json.dumps(value)


def _write_tensor(tensor: dict[str, Any], named: bool) -> Iterator[tuple[str, str]]:
    """Write one tensor, in a list if they have names."""
    if "columns" in tensor:
        yield "    columns:", tensor.get("from", "")
        for column in tensor["columns"]:
            shown = {key: column[key] for key in ("name", "dtype")}
            if column.get("nullable"):
                shown["nullable"] = True
            yield f"      - {quote(shown)}", column.get("from", "")
        return
    first = "    - " if named else "    "
    rest = "      " if named else "    "
    rows = [(f"name: {quote(tensor['name'])}", "")] if tensor.get("name") else []
    rows.append((f"shape: [{', '.join(map(str, [-1, *tensor['shape']]))}]", tensor.get("from", "")))
    rows.append((f"dtype: {tensor['dtype']}", tensor.get("dtype_from", "")))
    if tensor.get("nullable"):
        rows.append(("nullable: true", "it answers rows with missing values"))
    for i, (text, comment) in enumerate(rows):
        yield (first if i == 0 else rest) + text, comment


def _align(text: str, comment: str) -> str:
    return f"{text.ljust(_COLUMN - 1)} # {comment}\n" if comment else f"{text}\n"
