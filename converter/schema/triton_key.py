"""The key of Triton's restricted APIs: a file that only this user can read, and where the key stands in a call.

Triton asks for it before it loads, unloads or lists models, registers shared memory, changes traces or logs, or tells
statistics (triton-inference-server/server, docs/customization_guide/inference_protocols.md, "Limit Endpoint Access").
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from converter.errors import ConfigError

HEADER = "schwift-key"
# Triton's gRPC takes it under a name with this prefix.
GRPC_HEADER = f"triton-grpc-protocol-{HEADER}"
_BYTES = 32
_FORM = re.compile(r"[0-9A-Za-z_-]{16,}")


def read(path: Path) -> str:
    """Read the key. Raises ConfigError if there is none."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise ConfigError(f"SCHWIFT_TRITON_KEY_FILE: {path}: Triton's access key cannot be read: {why}") from error
    if not _FORM.fullmatch(key):
        raise ConfigError(
            f"SCHWIFT_TRITON_KEY_FILE: {path} holds no key of 16 or more letters, digits, - and _: remove the file, "
            "and a new one is made"
        )
    return key


def ensure(path: Path) -> str:
    """Read the key, or make one. Raises ConfigError if it can be neither read nor written."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(_BYTES)}\n")
            try:
                # Whole or not at all, and of two that make one at once the first.
                os.link(new, path)
            except FileExistsError:
                pass
            finally:
                new.unlink()
    except OSError as error:
        raise ConfigError(
            f"SCHWIFT_TRITON_KEY_FILE: {path}: Triton's access key cannot be written: {error.strerror}"
        ) from error
    return read(path)


def grpc_metadata(path: Path) -> tuple[tuple[str, str], ...]:
    """Return what to send with a gRPC call; nothing if there is no key, as for a Triton that asks for none."""
    try:
        return ((GRPC_HEADER, read(path)),)
    except ConfigError:
        return ()
