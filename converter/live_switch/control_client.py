"""The other end of adapter/reload/control_server.py, which says what is spoken."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

from converter.errors import NothingServed, ReloadError
from converter.schema.settings import Settings
from converter.schema.unix_address import address

_CONNECT_SECONDS = 5.0
# Beyond what loads and answers may take: unloading, and waiting for other workers.
_MORE_SECONDS = 60.0
_MOST_LINE = 1024 * 1024


class ControlClient:
    """A connection to the server. `say` gets what it tells on the way."""

    def __init__(self, sock: socket.socket, say: Callable[[str], None]) -> None:
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._say = say

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer. ReloadError with the server's reason where it is not ok, or where there is none."""
        try:
            self._sock.sendall(json.dumps(request).encode() + b"\n")
            while line := self._lines.readline(_MOST_LINE):
                answer: dict[str, Any] = json.loads(line)
                if "said" in answer:
                    self._say(answer["said"])
                elif answer["ok"]:
                    return answer
                else:
                    raise ReloadError(answer["reason"])
        except (OSError, ValueError) as error:
            raise ReloadError(f"the server did not answer: {error}") from error
        raise ReloadError("the server ended the connection: its log has the details")


@contextlib.contextmanager
def connected(settings: Settings, say: Callable[[str], None] = lambda text: None) -> Iterator[ControlClient]:
    """NothingServed where no server of this repository runs."""
    path = settings.control_path
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        sock.settimeout(_CONNECT_SECONDS)
        try:
            sock.connect(stack.enter_context(address(path)))
        except OSError as error:
            raise NothingServed(
                f"nothing is served here ({path}: {error.strerror}): "
                "run this in the folder where `schwift serve` runs, or start it"
            ) from error
        sock.settimeout(settings.model_load_timeout_seconds + 2 * settings.predict_timeout_seconds + _MORE_SECONDS)
        yield ControlClient(sock, say)
