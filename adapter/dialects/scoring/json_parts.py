"""A JSON body taken apart without reading its values: whatever is not looked at goes on as it came."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from adapter.codec.body_errors import check_syntax, check_utf8, malformed, name_kind
from adapter.errors import BadFeatures

Part = bytes | msgspec.Raw
_T = TypeVar("_T")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_LISTS = msgspec.json.Decoder(list[list[msgspec.Raw]])
_NAMES = msgspec.json.Decoder(list[str | int])

# The start of a list by what its first item is.
_OF_LISTS = re.compile(rb"\s*\[\s*\[")
_OF_OBJECTS = re.compile(rb"\s*\[\s*\{")
_EMPTY = re.compile(rb"\s*\[\s*\]\s*")
_KINDS: Mapping[bytes, str] = {
    b"[": "a list", b"{": "an object", b'"': "a string", b"t": "a boolean", b"f": "a boolean", b"n": "null",
}  # fmt: skip
_PLACE = re.compile(r" - at `\$(.*)`$")


def read_body(body: bytes, used: Collection[str]) -> dict[str, msgspec.Raw]:
    """Return the members of the object that a body is; `used` are the names of those that somebody looks into.

    Raises: MalformedJson if it is not JSON; BadFeatures if it is no object.
    """
    body = check_utf8(body)
    members = read_members(body, "the body")
    if any(name not in used and b":" in bytes(value) for name, value in members.items()):
        check_syntax(body)
    return members


def read_members(part: Part, where: str) -> dict[str, msgspec.Raw]:
    """Return the members of an object; raise as `read_body` does. `where` says what it is."""
    members = _decode(_MEMBERS, part, where)
    _check_keys(part, members.values())
    return members


def read_items(part: Part, where: str) -> list[msgspec.Raw]:
    """Return the items of a list; raise BadFeatures if it is none."""
    return _decode(_ITEMS, part, where)


def read_objects(part: Part, where: str) -> list[dict[str, msgspec.Raw]]:
    """Return the members of each object of a list; raise BadFeatures if it is another thing."""
    objects = _decode(_OBJECTS, part, where)
    _check_keys(part, [value for members in objects for value in members.values()])
    return objects


def read_lists(part: Part, where: str) -> list[list[msgspec.Raw]]:
    """Return the items of each list of a list; raise BadFeatures if it is another thing."""
    return _decode(_LISTS, part, where)


def read_names(part: Part, where: str) -> list[str]:
    """Return a list of names, of which some may be written as integers; raise BadFeatures if it is another thing."""
    return [str(name) for name in _decode(_NAMES, part, where)]


def is_list(part: Part) -> bool:
    """Return whether a value is a list."""
    return _start(part) == b"["


def is_object(part: Part) -> bool:
    """Return whether a value is an object."""
    return _start(part) == b"{"


def is_list_of_lists(part: Part) -> bool:
    """Return whether the first item of a list is a list."""
    return _OF_LISTS.match(memoryview(part)) is not None


def is_list_of_objects(part: Part) -> bool:
    """Return whether the first item of a list is an object."""
    return _OF_OBJECTS.match(memoryview(part)) is not None


def is_empty(part: Part) -> bool:
    """Return whether a value is a list of nothing."""
    return _EMPTY.fullmatch(memoryview(part)) is not None


def kind_of(part: Part) -> str:
    """Say what a value is, in words."""
    return _KINDS.get(_start(part), "a number")


def write_list(items: Sequence[Part]) -> bytes:
    """Return the JSON of a list of values."""
    return b"[%b]" % b",".join(items)


def write_boxed(items: Sequence[Part]) -> bytes:
    """Return the JSON of a list of lists of one value each."""
    return b"[[%b]]" % b"],[".join(items)


def write_features(content: Part) -> bytes:
    """Return the body of a request in our own form."""
    return b'{"features":%b}' % bytes(content)


def _start(part: Part) -> bytes:
    return bytes(memoryview(part)[:64]).lstrip()[:1]


def _decode(decoder: msgspec.json.Decoder[_T], part: Part, where: str) -> _T:
    try:
        return decoder.decode(part)
    except msgspec.ValidationError as error:
        check_syntax(bytes(part))
        raise BadFeatures(_explain(str(error), where)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error


def _explain(complaint: str, where: str) -> str:
    message = _PLACE.sub("", complaint)
    found = _PLACE.search(complaint)
    place = where + (found[1].replace("[...]", "") if found else "")
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    wanted = "a name" if expected == "`int | str`" else name_kind(expected)
    return f"{place}: expected {wanted}, got {name_kind(got)}."


def _check_keys(part: Part, values: Any) -> None:
    """Check that no key stands twice. Each key has one colon outside of the values; the last of two hides the first."""
    values = list(values)
    inside = sum(bytes(value).count(b":") for value in values)
    if bytes(part).count(b":") - inside != len(values):
        check_syntax(bytes(part))
