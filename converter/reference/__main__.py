"""`python -m converter.reference [--check]`: write docs/model_config.schema.json and the table of configuration.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic import BaseModel

from converter.reference.config_schema import find_text, make_schema
from converter.schema.fields.scheduling import PrioritySpec
from converter.schema.model import ModelArgs, ModelSpec, QueueSpec, TensorSpec, VerifySpec

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_SCHEMA, _PAGE = "model_config.schema.json", "configuration.md"
_BEGIN = "<!-- Made by `python -m converter.reference`: edit converter/reference/key_texts.py. -->\n"
_TABLE = re.compile(rf"(?<={re.escape(_BEGIN)})(\|.*\n)+")
# Keys that hold others, and what these are shown behind.
_WITHIN: dict[str, type[BaseModel]] = {
    "model_args": ModelArgs, "output": TensorSpec, "queue": QueueSpec, "priority": PrioritySpec,
    "verify": VerifySpec,
}  # fmt: skip
_OF_INPUTS = ("nullable", "columns")


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing, and fail if something would change.")
@click.option("--docs", type=click.Path(path_type=Path), default=_DOCS, help="The folder of the two.")
def main(check: bool, docs: Path) -> None:
    """Write both files, or compare them with what is there."""
    page = (docs / _PAGE).read_text(encoding="utf-8")
    made = {
        docs / _SCHEMA: json.dumps(make_schema(), indent=2) + "\n",
        docs / _PAGE: _TABLE.sub(lambda _: "".join(f"{line}\n" for line in list_rows()), page),
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(made[path], encoding="utf-8")
        click.echo(f"{path.name}: {'not as the types say' if check else 'written'}", err=check)
    if check and stale:
        raise SystemExit("error: write them with `python -m converter.reference`")


def list_rows() -> Iterator[str]:
    """List the lines of the table of keys."""
    yield "| key | default | means |"
    yield "|---|---|---|"
    for key in ModelSpec.model_fields:
        yield _row(ModelSpec, key)
        if key in _WITHIN:
            for name, field in _WITHIN[key].model_fields.items():
                before = key if key != "output" else "input" if name in _OF_INPUTS else "input, output"
                yield _row(_WITHIN[key], field.alias or name, before)


def _row(kind: type[BaseModel], key: str, before: str = "") -> str:
    text = find_text(kind, key)
    field = next(field for name, field in kind.model_fields.items() if key in (name, field.alias))
    value = "required" if field.is_required() else _show(field.default)
    shown = ", ".join(f"`{each}.{key}`" for each in before.split(", ")) if before else f"`{key}`"
    return f"| {shown} | {text.default or value} | {text.means} |"


def _show(value: object) -> str:
    if value is None or isinstance(value, BaseModel) or value in ((), {}):
        return "none"
    return str(value) if isinstance(value, str) and value.isalpha() else json.dumps(value)


if __name__ == "__main__":
    main()
