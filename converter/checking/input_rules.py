"""What a model takes, beside what its config says that it gets: features, their names, and arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from converter.checking.findings import Finding
from converter.checking.subject import Key, Subject
from converter.schema.model import PICKLES, nearest

_INPUT: Key = ("input",)
_MOST_NAMED = 60
# What a trace calls the arguments of a forward that takes `*inputs`, as the runtime has it (torch_arguments.py).
_NAMELESS = re.compile(r"argument_\d+")


def check_names(subject: Subject) -> Iterator[Finding]:
    """Compare names and number of features with those of the fit."""
    fitted, width = subject.said.get("fitted"), subject.about.get("width")
    columns = [item.name for item in subject.spec.columns]
    if subject.spec.backend not in PICKLES:
        return
    if fitted and columns:
        yield from _compare_columns(subject, columns, fitted)
    elif fitted:
        yield subject.find(
            "columns-missing",
            "error",
            (*_INPUT, 0),
            f"the model was fitted with names ({_list(fitted)}), and without them it takes values by their place alone",
            f"put this in the place of shape and dtype: {_write_columns(subject, fitted)}",
        )
    elif (
        isinstance(width, int)
        and not subject.about.get("width_guessed")
        and subject.form.get("form") in ("matrix", "columns", "tensors")
    ):
        yield from _compare_width(subject, columns, width)


def _compare_columns(subject: Subject, columns: list[str], fitted: list[str]) -> Iterator[Finding]:
    missing = [name for name in fitted if name not in columns]
    unknown = [name for name in columns if name not in fitted]
    if unknown:
        yield subject.find(
            "columns-differ",
            "error",
            _key_of_columns(subject),
            f"the model was not fitted with {_list(unknown)}{nearest(unknown[0], missing)}",
            f"write the names of the fit: {_list(fitted)}",
        )
    elif missing:
        yield subject.find(
            "columns-differ",
            "error",
            _key_of_columns(subject),
            f"the model was also fitted with {_list(missing)}",
            f"add {', '.join(f'{{name: {json.dumps(name)}, dtype: float64}}' for name in missing[:_MOST_NAMED])}, "
            "with the dtype of the fit",
        )


def _compare_width(subject: Subject, columns: list[str], width: int) -> Iterator[Finding]:
    first = subject.spec.input[0]
    if columns:
        given, key, remedy = len(columns), _key_of_columns(subject), "name all, in the order of the fit"
    elif len(first.row_dims) == 1 and not first.is_text:
        given, key, remedy = first.row_dims[0], (*_INPUT, 0, "shape"), f"write shape: [-1, {width}]"
    else:
        return
    if given not in (-1, width):
        said = f"the model takes {width} features a row ({subject.about['width_from']}), and the config has {given}"
        yield subject.find("features-count", "error", key, said, remedy)


def _key_of_columns(subject: Subject) -> Key:
    return (*_INPUT, 0, "columns") if subject.spec.input[0].columns else _INPUT


def _write_columns(subject: Subject, fitted: list[str]) -> str:
    """Write the lines to paste, on one: numbers keep the dtype that the config has for all."""
    usual = subject.spec.input[0].dtype
    number = "float64" if usual == "string" else usual
    types = subject.said.get("types") or []
    kinds = types if len(types) == len(fitted) else ["number"] * len(fitted)
    items = [
        f"{{name: {json.dumps(name, ensure_ascii=False)}, dtype: {'string' if kind == 'string' else number}}}"
        for name, kind in zip(fitted, kinds, strict=True)
    ]
    return f"columns: [{', '.join(items)}]"


def _list(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def check_arguments(subject: Subject) -> Iterator[Finding]:
    """Compare the inputs with the arguments of a TorchScript module's forward."""
    arguments = subject.said.get("arguments")
    if arguments is None:
        return
    taken, needed = [name for name, _ in arguments], {name for name, optional in arguments if not optional}
    given = [item.name or "" for item in subject.spec.input]
    nameless = bool(taken) and all(_NAMELESS.fullmatch(name) for name in taken)
    if len(given) == 1 or nameless:
        fits = len(needed) <= len(given) <= len(taken)
    else:
        fits = needed <= set(given) <= set(taken)
    if not fits:
        yield subject.find(
            "arguments-differ",
            "error",
            _INPUT,
            f"forward takes {', '.join(taken) or 'nothing'}, and the config has {', '.join(filter(None, given)) or 1}",
            "write an input for each argument, under its name",
        )
