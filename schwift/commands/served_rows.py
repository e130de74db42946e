"""Asks a running adapter for rows, and says what it answered or why it did not."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A breaker that opened because of refused rows lets requests through again after this many tries at the most.
_TRIES = 4
_MOST_WAIT_SECONDS = 8.0
_UNAVAILABLE = 503


@dataclass(frozen=True)
class ServedAnswer:
    """What came back: `predictions` of a 200, of another status its `detail`."""

    status: int
    predictions: Any = None
    detail: str = ""

    @property
    def answered(self) -> bool:
        """Whether there are predictions."""
        return self.status == http.client.OK

    def explain(self) -> str:
        """Say what stands in the place of an answer."""
        return f"{self.status}: {self.detail}"


class ServedModel:
    """One model of an adapter; `timeout` is for each request, in seconds. `requests` counts them, of all threads."""

    def __init__(self, host: str, port: int, name: str, timeout: float) -> None:
        self._host = host
        self._port = port
        self._name = name
        self._timeout = timeout
        self.requests = 0
        self._counting = threading.Lock()

    def ask(self, endpoint: str, features: Any) -> ServedAnswer:
        """Ask for some rows; once more if the server had no room."""
        body = json.dumps({"features": features}, ensure_ascii=False, allow_nan=False).encode()
        for attempt in range(_TRIES):
            with self._counting:
                self.requests += 1
            status, headers, text = self._post(f"/{endpoint}/{self._name}", body)
            if status != _UNAVAILABLE or attempt == _TRIES - 1:
                break
            time.sleep(min(float(headers.get("retry-after", 1)), _MOST_WAIT_SECONDS))
        try:
            said = json.loads(text)
        except ValueError:
            return ServedAnswer(status or 599, detail="no JSON")
        return ServedAnswer(status, said.get("predictions"), said.get("detail", ""))

    def _post(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            # As a server says it whose deadline passed.
            return http.client.GATEWAY_TIMEOUT, {}, json.dumps({"detail": f"no answer: {error}"}).encode()
        finally:
            connection.close()
