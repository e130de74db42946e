"""What the table of fields that came after our Triton says, held against the Triton that is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from tritonclient.grpc import model_config_pb2

from converter.environments.engine import ensure_engine
from converter.repository.triton_fields import NEWER, OWNED
from converter.schema.settings import load_settings

# How the description of model_config.proto, which protobuf's code carries, begins.
START = b"\x0a\x12model_config.proto\x12\x09inference"
# It is some 10 KiB.
MOST_BYTES = 64 * 1024


def read_description(binary: bytes) -> Any:
    """The description of model_config.proto in a program: the longest part behind its beginning that can be read."""
    at = binary.index(START)
    part, length = memoryview(binary)[at : at + MOST_BYTES], 0
    while (step := field_bytes(part[length:])) is not None:
        length += step
    return descriptor_pb2.FileDescriptorProto.FromString(part[:length].tobytes())


def field_bytes(rest: memoryview) -> int | None:
    """How long the first field is; None if it is none of those that a description has, which have all a length."""
    if rest[0] & 7 != 2 or rest[0] >> 3 not in (1, 2, 4, 5, 8, 12):
        return None
    size = shift = 0
    for used, byte in enumerate(rest[1:6].tobytes(), 2):
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return used + size
    raise DecodeError("no length")


def fields_of(message: Descriptor, known: dict[str, set[str]], path: str = "") -> Iterator[str]:
    """The fields of a message, and below them, that are not known, but for those that schwift sets."""
    for item in message.fields:
        here = f"{path}.{item.name}" if path else item.name
        if here in OWNED:
            continue
        if item.name not in known.get(message.full_name, set()):
            yield here
        elif item.message_type is not None and not item.message_type.GetOptions().map_entry:
            yield from fields_of(item.message_type, known, here)


def names_of(messages: Any, prefix: str) -> Iterator[tuple[str, set[str]]]:
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, {item.name for item in message.field}
        yield from names_of(message.nested_type, name)


def test_the_fields_that_came_after_our_triton_are_listed() -> None:
    engine = ensure_engine(load_settings(None), print)
    described = read_description((engine.triton / "bin" / "tritonserver").read_bytes())
    known = dict(names_of(described.message_type, described.package))
    assert "metric_tags" in known["inference.ModelConfig"]
    newer = set(fields_of(model_config_pb2.ModelConfig.DESCRIPTOR, known))
    version = tuple(int(part) for part in engine.version.split(".")[:2])
    assert newer == {name for name, since in NEWER.items() if since > version}
