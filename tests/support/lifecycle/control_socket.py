"""A server on the control socket of a repository that says what it is told to, over the real protocol."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from converter.schema.control import (
    ControlRequest,
    Done,
    Folders,
    Message,
    Progress,
    Refusal,
    Served,
    SwitchRequest,
    TryRequest,
    read_request,
)

SECONDS = 10.0


class ScriptedControl:
    """Answers each request as `answers` has it, or that it is done. It serves `served`, and has given `failed` up.

    `asked` has what came, and `seen` the folder that the repository then was. Answers wait while `hold` is not set.
    """

    def __init__(self, repository: Path, served: dict[str, int]) -> None:
        self.path = repository.with_name(f".{repository.name}.sock")
        self.repository = repository
        self.served = served
        self.failed: tuple[str, ...] = ()
        self.answers: dict[str, Message] = {}
        self.asked: list[ControlRequest] = []
        self.seen: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    @property
    def did(self) -> list[str]:
        return [request.do for request in self.asked]

    @property
    def tried(self) -> TryRequest:
        return next(request for request in self.asked if isinstance(request, TryRequest))

    def _answer(self, request: ControlRequest) -> Message:
        self.asked.append(request)
        self.seen.append(os.readlink(self.repository) if self.repository.is_symlink() else "")
        self.hold.wait(SECONDS)
        if request.do == "folders":
            return Folders()
        if request.do == "served":
            return self.answers.get("served", Served(served=self.served, failed=self.failed))
        return self.answers.get(request.do, Done())

    def _talk(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                request = read_request(line)
                if isinstance(request, TryRequest | SwitchRequest):
                    sock.sendall(Progress(said=f"now {request.do}").line)
                sock.sendall(self._answer(request).line)

    @contextlib.contextmanager
    def listening(self) -> Iterator[ScriptedControl]:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(self.path))
            listener.listen()

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        self._talk(listener.accept()[0])

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self.hold.set()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(SECONDS)
                assert not thread.is_alive()


def refuse(reason: str) -> Refusal:
    return Refusal(reason=reason)
