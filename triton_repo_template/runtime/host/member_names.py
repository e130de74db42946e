"""What Triton's own clients mean: which member has a tensor of theirs, after `members.json` of the served build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import BYTES_SUFFIX, LENGTHS_SUFFIX, TensorConfig
from ..errors import ModelError
from .wire_form import WireForm

MEMBERS_FILE = "members.json"


@dataclass(frozen=True)
class NamedMember:
    """A member by the names of its tensors in a host, which begin with `prefix`.

    `key` is what the host knows it by, `max_rows` its largest call, 0 for no bound; `has_strings` says whether clients
    send or get any.
    """

    key: str
    prefix: str
    inputs: WireForm
    outputs: WireForm
    # As clients know them, without the prefix.
    input_names: tuple[str, ...]
    has_strings: bool
    max_rows: int


class MemberNames:
    """The members of a host by their tensors' names, read again once another build is served.

    `host` is the folder of the host in the repository, of whichever version.
    """

    def __init__(self, host: Path) -> None:
        self._host = host
        self._seen: tuple[int, ...] | None = None
        self._members: dict[str, NamedMember] = {}

    def refresh(self) -> None:
        """Read them again if another build is served than at the last look, which has folders of its own."""
        try:
            found = self._host.stat()
            seen = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
            if seen != self._seen:
                self._members = _read(self._host)
                self._seen = seen
        except (OSError, ValueError, KeyError) as error:
            # Gone while builds are switched, or damaged: the members are those that were known.
            if self._seen is None:
                raise ModelError(f"{self._host.name}/{MEMBERS_FILE} cannot be read: {error}") from error

    def find(self, tensors: Iterable[str]) -> NamedMember:
        """Return the member that has the first of these inputs. Raises ModelError if none has."""
        first = next(iter(tensors), None)
        if first is None:
            raise ModelError("a request without inputs")
        member = self._members.get(first)
        if member is None:
            raise ModelError(f"no model of this pack has the input {first}")
        return member


def _read(host: Path) -> dict[str, NamedMember]:
    versions = (int(path.name) for path in host.iterdir() if path.name.isdecimal())
    text = (host / str(max(versions)) / MEMBERS_FILE).read_text(encoding="utf-8")
    members: dict[str, NamedMember] = {}
    for name, described in json.loads(text).items():
        member = _make(f"{name}.", described)
        for wire in (*member.inputs.names, *member.input_names):
            members[member.prefix + wire] = member
    return members


def _make(prefix: str, described: Mapping[str, Any]) -> NamedMember:
    strings = described["strings"]
    inputs, outputs = (_list_tensors(described[key], strings) for key in ("inputs", "outputs"))
    return NamedMember(
        key=f"{described['files']}/{described['version']}",
        prefix=prefix,
        inputs=WireForm(inputs, strings),
        outputs=WireForm(outputs, strings),
        input_names=tuple(item.name for item in inputs),
        has_strings=bool(strings),
        max_rows=int(described["max_rows"]),
    )


def _list_tensors(wires: Sequence[Mapping[str, Any]], strings: Sequence[str]) -> list[TensorConfig]:
    """List the tensors as clients know them, with a string tensor in the place of its two."""
    dropped = {name + BYTES_SUFFIX for name in strings}
    lengths = {name + LENGTHS_SUFFIX: name for name in strings}
    return [
        TensorConfig(lengths[wire["name"]], "object", tuple(wire["dims"]))
        if wire["name"] in lengths
        else TensorConfig(wire["name"], wire["dtype"], tuple(wire["dims"]))
        for wire in wires
        if wire["name"] not in dropped
    ]
