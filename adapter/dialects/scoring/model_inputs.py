"""What a model takes, as clients of other dialects see it: names, and which of them have one value a row."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from adapter.codec.body_errors import short
from adapter.errors import SchemaMismatch
from converter.schema import dtypes
from converter.schema.fields.field_checks import nearest
from converter.schema.manifest import ModelEntry

# Names that are longer are compared with none.
_LONGEST_NAME = 256


class ModelInputs:
    """The inputs of one model.

    `kind` is `columns`, `inputs` for several inputs by name, or `rows` for a single input without names in it. `names`
    are those of its columns, or of its inputs.
    """

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        if entry.columns:
            self.kind = "columns"
            self.names = [column.name for column in entry.columns]
        else:
            self.kind = "rows" if len(entry.inputs) == 1 else "inputs"
            self.names = [tensor.name for tensor in entry.inputs]

    @property
    def are_tensors(self) -> bool:
        """Whether its config names several inputs, which may be columns to the model."""
        return len(self.entry.spec.input) > 1

    @property
    def takes_scalars(self) -> bool:
        """Whether a row is one value: of the only column, or of a single input."""
        return self.kind != "inputs" and len(self.names) == 1 and self.is_scalar(0)

    @property
    def is_text(self) -> bool:
        """Whether the only input takes a flat list of texts as rows."""
        return self.kind == "rows" and self.entry.spec.input[0].is_text

    @property
    def width(self) -> int | None:
        """How many values a row has; None if it is no flat list, or of any length."""
        if self.kind != "rows":
            return len(self.names)
        dims = self.entry.inputs[0].dims
        return dims[0] if len(dims) == 1 and dims[0] > 0 else None

    def is_scalar(self, i: int) -> bool:
        """Return whether a row of a column or input is one value."""
        return self.kind == "columns" or tuple(self.entry.inputs[i].dims) == (1,)

    def takes_texts(self, i: int) -> bool:
        """Return whether a flat list of texts is a list of rows of an input."""
        return self.kind != "columns" and self.entry.spec.input[i].is_text

    def value_kinds(self, width: int) -> list[tuple[dtypes.JsonKind, bool]]:
        """Return what each value of a flat row of this width is in JSON, and whether it may be missing."""
        if self.kind == "columns":
            return [(column.kind, column.nullable) for column in self.entry.columns]
        kinds = [(dtypes.by_name(spec.dtype).json, spec.nullable) for spec in self.entry.spec.input]
        return kinds if self.kind == "inputs" else kinds * width

    def check_names(self, given: Collection[str], where: str) -> None:
        """Raise SchemaMismatch, naming what is missing, unknown or there twice. `where` begins the sentence."""
        if len(given) == len(self.names) and set(given) == set(self.names):
            return
        word = "column" if self.kind == "columns" else "input"
        said = []
        if missing := [name for name in self.names if name not in given]:
            said.append(f"{_list(word, missing)} {'is' if len(missing) == 1 else 'are'} missing")
        if unknown := [name for name in given if name not in self.names]:
            near = nearest(unknown[0], self.names) if len(unknown) == 1 and len(unknown[0]) <= _LONGEST_NAME else ""
            said.append(f"the model has no {_list(word, unknown).removeprefix('the ')}{near}")
        if not said:
            twice = [name for name in self.names if list(given).count(name) > 1]
            said.append(f"{_list(word, twice)} {'stands' if len(twice) == 1 else 'stand'} there twice")
        raise SchemaMismatch(f"{where}: {', and '.join(said)}.")

    def order(self, given: Sequence[str], where: str) -> list[int]:
        """Return where each of the model's names stands in `given`; raise as `check_names` does."""
        self.check_names(given, where)
        places = {name: i for i, name in enumerate(given)}
        return [places[name] for name in self.names]


def _list(word: str, names: Sequence[str]) -> str:
    """Return `the column "a"` or `the columns "a", "b"`."""
    listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return f"the {word}{'' if len(names) == 1 else 's'} {short(listed)}"
