"""YAML → spec. Every error says `file:line: model.input.shape: message`, with the nearest right key.

The file is read as a node tree, not by yaml.safe_load: that keeps line numbers, sees duplicate keys, and
bounds what anchors may expand to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from converter.errors import ConfigError
from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.fields.scheduling import PrioritySpec
from converter.schema.model import MisplacedError, ModelArgs, ModelFile, ModelSpec, QueueSpec, TensorSpec, nearest

_MAX_BYTES = 64 * 1024
_MAX_NODES = 10_000
# A message has what the user wrote in it.
_MOST_MESSAGE = 1000

# What PyYAML says, and what to do.
_REMEDIES = (
    ("found character '\\t'", "indent with spaces, not with tabs"),
    ("another document", "a file has one model: give the second a folder of its own"),
    ("could not find expected ':'", "a key ends in a colon and a space"),
    ("mapping values are not allowed", "look at the indentation, and put a text with a colon in it into quotes"),
    ("expected <block end>", "indent the keys of one mapping alike"),
    ("expected '<document start>'", "indent the keys of one mapping alike"),
    ("expected ',' or", "close the bracket"),
    ("end of stream", "close the quote or the bracket"),
    ("cannot start any token", "put the value into quotes"),
)

Path_ = tuple[str | int, ...]

# Which model a key belongs to, for "did you mean".
_MODEL_AT: dict[tuple[str, ...], type[BaseModel]] = {
    (): ModelFile,
    ("model",): ModelSpec,
    ("model", "model_args"): ModelArgs,
    ("model", "queue"): QueueSpec,
    ("model", "priority"): PrioritySpec,
    ("model", "input"): TensorSpec,
    ("model", "output"): TensorSpec,
    ("model", "input", "columns"): ColumnSpec,
}


def load_spec(path: Path, shown: Path | str | None = None) -> ModelSpec:
    """Read one model's YAML file, called `shown` in messages. Raises ConfigError with a line for each problem."""
    label = str(shown if shown is not None else path)
    raw = _read(path, label)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label}: not UTF-8 at byte {error.start}: save the file as UTF-8") from error
    data, lines = _Reader(label).read(text)
    try:
        return ModelFile.model_validate(data).model
    except ValidationError as error:
        problems = [
            _problem(label, (*item["loc"], *_place_below(item)), item["type"], item["msg"], data, lines)
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(problems) from error


def locate(path: Path, key: Path_) -> tuple[str, int]:
    """Find a key in a config that was read: how it is written, and the line of it, or of what it would stand in."""
    data, lines = _Reader(str(path)).read(_read(path, str(path)).decode("utf-8-sig"))
    written, known = _place(key, data, lines)
    return _dotted(written), lines.get(known, 1)


def _read(path: Path, label: str) -> bytes:
    """Read at most so much as a config may have, of a regular file."""
    try:
        # A pipe that nobody writes to must not keep the build waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{label}: not a regular file: write the config into one")
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{label}: {size} bytes: a model's config is at most {_MAX_BYTES} bytes")
    return raw


class _Reader:
    """Builds plain values from YAML nodes, and notes the line of every path."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._lines: dict[Path_, int] = {}
        self._nodes = 0

    def read(self, text: str) -> tuple[Any, dict[Path_, int]]:
        try:
            loader = yaml.SafeLoader(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise ConfigError(
                f"{self._label}:{line}: the character U+{ord(text[error.position]):04X} cannot stand in YAML: "
                "remove it, or write it as an escape in double quotes"
            ) from error
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError(f"{self._label}:1: the file is empty: it needs the key model")
            value = self._value(loader, node, ())
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            remedy = next((f": {todo}" for text, todo in _REMEDIES if text in str(error.problem)), "")
            raise ConfigError(f"{self._label}:{line}: not valid YAML: {error.problem}{remedy}") from error
        except RecursionError as error:
            # The line of the last value that was reached, else of the parser.
            line = next(reversed(self._lines.values()), loader.line + 1)
            raise ConfigError(f"{self._label}:{line}: nested too deeply, or an anchor within itself") from error
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{self._label}:1: not valid YAML: {type(error).__name__}") from error
        finally:
            loader.dispose()
        return value, self._lines

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path_) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise ConfigError(f"{self._label}:{node.start_mark.line + 1}: the anchors expand to too much")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(loader, node, path)

    def _scalar(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path_) -> Any:
        where = f"{self._label}:{node.start_mark.line + 1}: {_dotted(path)}"
        try:
            value = loader.construct_object(node)
            if isinstance(value, str):
                value.encode()
        except yaml.YAMLError:
            raise
        except UnicodeEncodeError as error:
            raise ConfigError(f"{where}: the text cannot be written as UTF-8") from error
        except Exception as error:
            # PyYAML lets whatever a tag's reader raises through: KeyError, IndexError, ValueError.
            tag = str(node.tag).rpartition(":")[2]
            raise ConfigError(f"{where}: this is not a {tag}") from error
        return value

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self._label}:{line}: {_dotted(path)}: a key must be a word")
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ConfigError(f"{self._label}:{line}: merge keys (<<) are not supported: write the keys out")
            key = str(key_node.value)
            here = (*path, key)
            if key in result:
                raise ConfigError(
                    f"{self._label}:{line}: {_dotted(here)}: the key stands twice, "
                    f"first on line {self._lines[here]}: keep one"
                )
            self._lines[here] = line
            result[key] = self._value(loader, value_node, here)
        return result


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(top)"


def _problem(label: str, loc: Sequence[str | int], kind: str, message: str, data: Any, lines: dict[Path_, int]) -> str:
    """One line for one of pydantic's errors, its place translated to the user's YAML."""
    path, known = _place(loc, data, lines)
    if kind == "extra_forbidden":
        owner = _MODEL_AT.get(tuple(str(part) for part in path[:-1] if not isinstance(part, int)))
        names = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
        message = f"unknown key{nearest(str(path[-1]), names)}"
        if "did you mean" not in message and names:
            message += f": the keys here are {', '.join(names)}"
    elif kind == "missing":
        message = "this key is missing"
    elif kind == "tuple_type":
        message = "this is no list: write it as in [1, 2]"
    message = message.removeprefix("Value error, ")
    if len(message) > _MOST_MESSAGE:
        message = message[:_MOST_MESSAGE] + "…"
    return f"{label}:{lines.get(known, 1)}: {_dotted(path)}: {message}"


def _place_below(item: ErrorDetails) -> Path_:
    """Return where below its place pydantic's error really is."""
    error = item.get("ctx", {}).get("error")
    return error.place if isinstance(error, MisplacedError) else ()


def _place(loc: Sequence[str | int], data: Any, lines: dict[Path_, int]) -> tuple[Path_, Path_]:
    """Find the path in the YAML, and its longest part that has a line.

    A single tensor is written as a mapping but checked as a list of one, so an index that the YAML does not
    have is left out.
    """
    path: list[str | int] = []
    here = data
    for part in loc:
        if isinstance(part, int) and not isinstance(here, list):
            continue
        path.append("class" if part == "class_" else part)
        if isinstance(here, dict):
            here = here.get(path[-1])
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = None
    known = tuple(path)
    while known and known not in lines:
        known = known[:-1]
    return tuple(path), known
