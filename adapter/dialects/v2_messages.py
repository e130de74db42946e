"""The JSON of a V2 inference request (Open Inference Protocol), as types; what stands in `data` is read by v2_reader.

What may be left out may also be null, as clients write it whose messages are typed classes.

Sources: the repository kserve/open-inference-protocol, and for raw tensors
triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from adapter.codec.body_errors import name_kind, short
from adapter.errors import BadTensor, MalformedJson

# What a parameter is called that makes a tensor one of memory that the client shares with the server.
_SHARED = "shared_memory_region"
_SEQUENCE = "sequence_id"
_CLASSES = "classification"


class TensorPart(msgspec.Struct):
    """One input as it stands in a request."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET

    @property
    def has_data(self) -> bool:
        """Whether values stand in the JSON."""
        data = self.data
        # Not copied to be compared, however large it is.
        return data is not UNSET and (len(data) != 4 or bytes(data) != b"null")


class WantedPart(msgspec.Struct):
    """One output that a request asks for."""

    name: str
    parameters: dict[str, Any] | UnsetType | None = UNSET


class InferBody(msgspec.Struct):
    """A whole request."""

    inputs: list[TensorPart]
    id: str | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET
    outputs: list[WantedPart] | UnsetType | None = UNSET


def plain_body(value: type) -> Any:
    """Make the type of a request with one input, whose flat values, of a JSON type, are read along with it."""
    fields: list[tuple[str, Any, Any]] = [("data", GenericAlias(list, (value,)), msgspec.NODEFAULT)]
    fields += [("parameters", dict[str, Any] | UnsetType, UNSET)]
    part = msgspec.defstruct("PlainPart", [("name", str), ("shape", list[int]), ("datatype", str), *fields])
    more: list[tuple[str, Any, Any]] = [
        ("id", str | UnsetType, UNSET),
        ("parameters", dict[str, Any] | UnsetType, UNSET),
        ("outputs", list[WantedPart] | UnsetType, UNSET),
    ]
    # Exactly one.
    return msgspec.defstruct("PlainBody", [("inputs", GenericAlias(tuple, (part,))), *more])


def count_keys(body: Any) -> int:
    """Return how many keys a request has that was read as InferBody or a `plain_body`, if there are no unknown ones."""
    keys = 1 + (body.id is not UNSET) + _in_parameters(body.parameters)
    for part in body.inputs:
        keys += 3 + (part.data is not UNSET) + _in_parameters(part.parameters)
    if body.outputs is not UNSET:
        keys += 1 + sum([1 + _in_parameters(part.parameters) for part in body.outputs or ()])
    return keys


def _in_parameters(parameters: Mapping[str, Any] | UnsetType | None) -> int:
    return 0 if isinstance(parameters, UnsetType) else 1 + len(parameters or ())


def check_parameters(parameters: Mapping[str, Any] | UnsetType | None, where: str) -> Mapping[str, Any]:
    """Return parameters, of which those are passed over that nothing hangs on.

    Raises: BadTensor if one asks for what is not served here.
    """
    if parameters is None or isinstance(parameters, UnsetType):
        return {}
    if _SHARED in parameters:
        raise BadTensor(f"{where}: shared memory is not served here: send the values in the request.")
    if parameters.get(_SEQUENCE):
        raise BadTensor(f"{where}: sequences are not served here: leave out {_SEQUENCE}.")
    if parameters.get(_CLASSES):
        raise BadTensor(f"{where}: {_CLASSES} is not served here: ask for the tensor, and sort that.")
    return parameters


def flag(parameters: Mapping[str, Any], name: str, where: str, default: bool) -> bool:
    """Return a parameter that is true or false; raise BadTensor if it is neither."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadTensor(f"{where}: {name} must be true or false.")
    return value


def complain(error: msgspec.ValidationError) -> MalformedJson | BadTensor:
    """Put msgspec's message about a request, whatever its data, in our words."""
    message, _, place = str(error).partition(" - at ")
    where = place.strip("`").removeprefix("$.").removeprefix("$") or "the body"
    if "out of range" in message:
        return MalformedJson(f"{short(where)}: the number is out of range.")
    if "missing required field" in message:
        return BadTensor(f"{short(where)}: the field {message.split('`')[1]} is missing.")
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    if not got:
        return BadTensor(f"{short(where)}: not what an inference request has there.")
    return BadTensor(f"{short(where)}: expected {name_kind(expected)}, got {name_kind(got)}.")
