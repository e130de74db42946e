"""What stands beside a host and its front in the repository."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoadError
from .envelope import KEY_BYTES

CALL_TENSOR = "schwift.call"
ANSWER_TENSOR = "schwift.answer"
HOST_KEY_FILE = "host_key"
# An empty file of this name is in the version folders of hosts and their fronts, so that Python makes no folder there.
PYCACHE_FILE = "__pycache__"


def read_host_key(version_folder: Path) -> bytes:
    """Read the secret without which a host takes no call, which is in a file, as clients can read config.pbtxt."""
    key = (version_folder / HOST_KEY_FILE).read_bytes().strip()
    if len(key) != KEY_BYTES:
        raise LoadError(f"{HOST_KEY_FILE} is damaged: build the repository again with `schwift build-repo`")
    return key
