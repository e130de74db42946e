"""So many requests a second, whatever becomes of them, each with numbers of its own and each answer compared."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.servers.load import FACTOR

_TIMEOUT_SECONDS = 40.0


@dataclass
class Steady:
    """`lost` says what became of each request that was not answered with its numbers; `seen` counts statuses."""

    port: int
    a_second: int
    seconds: float
    clients: int = 24
    seen: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    began: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        numbers = itertools.count()
        self.began = time.monotonic()
        self._threads = [threading.Thread(target=self._client, args=(numbers,)) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _client(self, numbers: itertools.count[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            while (number := next(numbers)) < self.a_second * self.seconds:
                time.sleep(max(0.0, self.began + number / self.a_second - time.monotonic()))
                if said := self._ask(connection, number):
                    self.lost.append(f"{number} after {time.monotonic() - self.began:.2f} s: {said}")

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> str | None:
        body = json.dumps({"features": [[number, 1.0, -2.0]]})
        try:
            connection.request("POST", "/predict/multiply", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return repr(error)
        self.seen[answer.status] += 1
        expected = {"model": "multiply", "predictions": [[FACTOR * number, FACTOR, -2 * FACTOR]]}
        return None if answer.status == 200 and json.loads(text) == expected else f"{answer.status} {text[:200]!r}"
