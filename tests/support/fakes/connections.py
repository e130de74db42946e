"""A client that sends a request in one packet, as most do; Python's own sends head and body one after the other."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any


class WholeConnection(HTTPConnection):
    _held: bytes | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._held = b""
        super().request(*args, **kwargs)
        held, self._held = self._held, None
        super().send(held)

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held += data.encode() if isinstance(data, str) else data
