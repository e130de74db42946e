"""The file of API keys: what stands in it, and how a key is recognised.

A key is 256 random bits. The file holds its SHA-256 alone: nobody can search 2^256 keys, so a slow hash, which is made
for words that people choose, would only cost time with each request.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from converter.errors import ConfigError

# Lets scanners of source code recognise a key that was left in it.
_PREFIX = "schwift_"
_KEY_BYTES = 32
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# A file of a million keys has 300 MB; what is larger is no file of keys.
_MOST_BYTES = 512 * 1024 * 1024


class ApiKey(BaseModel):
    """One key: its hash, what it allows, and until when. `predict` is true for all models, or the names of some."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=_NAME)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    predict: bool | tuple[str, ...] = False
    read: bool = False
    metrics: bool = False
    created: AwareDatetime
    expires: AwareDatetime | None = None
    requests: Annotated[int, Field(ge=1)] | None = None
    rows: Annotated[int, Field(ge=1)] | None = None

    def expired(self, now: datetime) -> bool:
        """Return whether the key is no longer valid."""
        return self.expires is not None and self.expires <= now


class KeysFile(BaseModel):
    """All keys. A name stands for one key alone, and so does a hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> KeysFile:
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in self.keys]
            if len(set(values)) != len(values):
                raise ValueError(f"two keys have the same {what}")
        return self


def make_key() -> str:
    """Make a new key, which nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def hash_key(key: str) -> str:
    """Return a key's SHA-256, as it stands in the file."""
    return hashlib.sha256(key.encode()).hexdigest()


def valid_name(name: str) -> bool:
    """Return whether a key may be called so."""
    return re.match(_NAME, name) is not None


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read all keys of a file. Raises ConfigError naming the file, its fault and the remedy; none of its content."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & _WRITABLE_BY_OTHERS:
                raise ConfigError(f"{path}: others may write to it, and so give themselves keys: chmod 600 {path}")
            content = file.read(_MOST_BYTES)
        return KeysFile.model_validate(json.loads(content)).keys
    except FileNotFoundError as error:
        raise ConfigError(
            f"SCHWIFT_API_KEYS_FILE: {path} is not there: make it with `schwift keys add NAME --predict all`"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}: let the server's user read it") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{path}: {place}: {first['msg']}: change the file with `schwift keys` alone") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: change the file with `schwift keys` alone") from error
