"""The opcodes of pickles, written out: what no library would write."""

from __future__ import annotations

import pickle
from typing import Any


def push(value: Any, protocol: int = 2) -> bytes:
    """The opcodes that put a plain value on the stack."""
    dumped = pickle.dumps(value, protocol)
    return dumped[2 if protocol >= 2 else 0 : -1]


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def called(module: str, name: str, *args: Any) -> bytes:
    return named(module, name) + push(args) + b"R"


def whole(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def state_with(key: str, value: bytes) -> bytes:
    return b"}" + push(key) + value + b"s"
