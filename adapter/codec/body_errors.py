"""What is said of a body that cannot be read: malformed JSON (400) or wrong features (422), in our words."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping

import msgspec

from adapter.codec import duplicate_keys
from adapter.errors import MalformedJson

_KINDS: Mapping[str, str] = {
    "`int`": "an integer", "`float`": "a number", "`str`": "a string", "`bool`": "a boolean",
    "`null`": "null", "`array`": "a list", "`object`": "an object", "`int | float`": "an integer",
}  # fmt: skip
_MOST_DETAIL = 300


def short(text: str) -> str:
    """Cut a text that a client may have written to a bounded length."""
    return text if len(text) <= _MOST_DETAIL else text[:_MOST_DETAIL] + "…"


def name_kind(kind: str) -> str:
    """Say what msgspec calls a kind of value, as in "`float | null`", in words."""
    return _KINDS.get(kind.replace(" | null`", "`"), kind)


def check_utf8(body: bytes) -> bytes:
    """Return a body without the byte order mark that some clients begin with.

    Raises: MalformedJson if it is not UTF-8.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from error
    return body.removeprefix(codecs.BOM_UTF8)


def check_syntax(body: bytes) -> None:
    """Check the whole body: a typed decoder stops at its first complaint.

    Raises: MalformedJson if it is not JSON, or has a key twice in an object.
    """
    try:
        msgspec.json.decode(body)
        duplicate_keys.check(body)
    except duplicate_keys.DuplicateKey as error:
        raise MalformedJson(f"The body has the key {short(json.dumps(str(error)))} twice in an object.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error


def malformed(error: Exception) -> MalformedJson:
    """Put what a decoder says of malformed JSON in our words."""
    if isinstance(error, RecursionError):
        return MalformedJson("The body is nested too deeply.")
    reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedJson(f"The body is not JSON: {short(reason)}.")
