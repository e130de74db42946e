"""Requests from a lean client that measures them, one at a time or many at once, and what the server says of itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.servers.server import Server

TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    """`code` is "ok" where there were predictions; `seconds` from the connection on."""

    status: int
    code: str
    body: Any
    headers: dict[str, str]
    seconds: float

    @property
    def retry_after(self) -> int:
        return int(self.headers.get("retry-after", 0))


def ask(server: Server, model: str, features: Any, endpoint: str = "predict", **headers: str) -> Answer:
    address = urlsplit(server.url)
    assert address.hostname and address.port
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with contextlib.closing(connection):
        connection.connect()
        began = time.monotonic()
        connection.request("POST", f"/{endpoint}/{model}", json.dumps({"features": features}), sent)
        response = connection.getresponse()
        content = response.read()
        seconds = time.monotonic() - began
    body = json.loads(content)
    lowered = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, body.get("code", "ok"), body, lowered, seconds)


def get(server: Server, path: str) -> tuple[int, str]:
    address = urlsplit(server.url)
    assert address.hostname and address.port
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def at_once(count: int, what: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(what, range(count)))


def codes(answers: Sequence[Answer]) -> list[tuple[int, str]]:
    return sorted((answer.status, answer.code) for answer in answers)


def health(server: Server, model: str = "") -> dict[str, Any]:
    """What /health says of one model, or of all."""
    whole: dict[str, Any] = json.loads(get(server, "/health")[1])
    return whole["models"][model] if model else whole


def ready(server: Server) -> bool:
    return get(server, "/health/ready")[0] == 200


def live(server: Server) -> bool:
    return get(server, "/health/live")[0] == 200


def metric(server: Server, name: str, **labels: str) -> float:
    """The sum over all samples that have these labels."""
    found = 0.0
    for line in get(server, "/metrics")[1].splitlines():
        match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found += float(match[2])
    return found
