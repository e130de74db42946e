"""Steady load from keep-alive clients that check every answer, and note all that was none."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# What the example `multiply` multiplies by.
FACTOR = 2.5
# Between two requests of a client, and after one that was refused.
_PAUSE_SECONDS = 0.005
_REFUSED_SECONDS = 0.05
_TIMEOUT_SECONDS = 30.0


@dataclass
class Load:
    """`seen` counts answers by status and code; `faults` are answers, or losses, that must not be."""

    url: str
    endpoint: str = "predict"
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    # Connections that nobody took: nothing was accepted.
    refused: int = 0
    # When the last answer of each status came.
    last: dict[int, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.seen}

    @property
    def codes(self) -> set[str]:
        return {code for status, code in self.seen if status != 200}

    def answered(self) -> int:
        """How many got their numbers."""
        return sum(count for (status, _), count in self.seen.items() if status == 200)

    def has_answered(self, count: int) -> bool:
        return self.answered() >= count

    @contextlib.contextmanager
    def from_clients(self, count: int, until_refused: bool = False) -> Iterator[None]:
        """Load for the length of a block. `until_refused`: a client leaves when it is told to come back later."""
        threads = [threading.Thread(target=self._client, args=(until_refused,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def _client(self, until_refused: bool) -> None:
        address = urlsplit(self.url)
        assert address.hostname and address.port
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            while not self.over.is_set():
                try:
                    if connection.sock is None:
                        connection.connect()
                except OSError:
                    self.refused += 1
                    if until_refused:
                        return
                    time.sleep(_REFUSED_SECONDS)
                    continue
                if not self._ask(connection, next(self._numbers)) and until_refused:
                    return
                time.sleep(_PAUSE_SECONDS)

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> bool:
        """One request, whose numbers no other has; whether it was answered with its numbers."""
        body = json.dumps({"features": [[number, 1.0, -2.0]]})
        try:
            connection.request("POST", f"/{self.endpoint}/multiply", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.faults.append(f"request {number} was lost: {error!r}")
            connection.close()
            return False
        code = content.get("code", "ok")
        self.seen[answer.status, code] += 1
        self.last[answer.status] = time.monotonic()
        if answer.status == 200:
            if content["predictions"] != [[FACTOR * number, FACTOR, -2 * FACTOR]]:
                self.faults.append(f"request {number} was answered {content}")
            return True
        if answer.status == 503 and int(answer.headers["Retry-After"] or 0) < 1:
            self.faults.append(f"503 {code} without Retry-After")
        if code == "draining" and answer.headers["Connection"] != "close":
            self.faults.append("503 draining on a connection that stays open")
        return False
