"""The client's end of the control socket; adapter/reload/control_server.py is the server's."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence

from converter.errors import NothingServed, ReloadError
from converter.schema import control
from converter.schema.settings import Settings
from converter.schema.unix_address import address

_CONNECT_SECONDS = 5.0
# Beyond what loads and answers may take: unloading, and waiting for other workers.
_MORE_SECONDS = 60.0
_MOST_LINE = 1024 * 1024


class ControlClient:
    """A connection to the server; `say` gets the lines for the user. Requests raise ReloadError if they are refused."""

    def __init__(self, sock: socket.socket, say: Callable[[str], None]) -> None:
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._say = say

    def folders(self) -> control.Folders:
        """Ask which folders the server serves."""
        return self._ask(control.FoldersRequest(), control.Folders)

    def served(self) -> control.Served:
        """Ask which versions the server serves."""
        return self._ask(control.ServedRequest(), control.Served)

    def try_build(self, build: str, models: Sequence[str], suffix: str) -> None:
        """Have the server load and try these models of a build, whose trial names end with `suffix`."""
        self._ask(control.TryRequest(build=build, models=tuple(models), suffix=suffix), control.Done)

    def switch(self) -> None:
        """Have the server serve what it tried, after the repository was switched."""
        self._ask(control.SwitchRequest(), control.Done)

    def settle(self) -> None:
        """Have the server serve what the repository holds now."""
        self._ask(control.SettleRequest(), control.Done)

    def _ask(self, request: control.ControlRequest, expected: type[control.Answer]) -> control.Answer:
        """Return the answer. Raises ReloadError with the server's reason if it refuses, or if no answer comes."""
        try:
            self._sock.sendall(request.line)
            while line := self._lines.readline(_MOST_LINE):
                answer = control.read_answer(line, expected)
                if isinstance(answer, control.Progress):
                    self._say(answer.said)
                elif isinstance(answer, control.Refusal):
                    raise ReloadError(answer.reason)
                else:
                    return answer
        except (OSError, ValueError) as error:
            raise ReloadError(f"the server did not answer: {error}") from error
        raise ReloadError("the server ended the connection: its log has the details")


@contextlib.contextmanager
def connect(settings: Settings, say: Callable[[str], None] = lambda text: None) -> Iterator[ControlClient]:
    """Connect to the server of this repository. Raises NothingServed if none runs."""
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
