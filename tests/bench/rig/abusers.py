"""Clients that mean no good, in a closed loop: `python -m tests.bench.rig.abusers URL CONNECTIONS SECONDS LEAST`.

Each connection does one kind of abuse after the other, for so many seconds and until all have done at least so many.
Prints what was answered, by kind, as JSON. It is a process of its own, and a nice one: what it takes to make such
requests is no work of the server's.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

MODEL = "iris_logreg"
_TIMEOUT_SECONDS = 30.0
_DRIP_SECONDS, _DRIP_PAUSE = 2.0, 0.2
_PIPELINED = 64
_LARGE_BYTES = (1 << 24) - 1000
_HEAD_BYTES = 1 << 20
_NICE = 10
_GOOD = b'{"features": [[5.1, 3.5, 1.4, 0.2]]}'

Abuse = Callable[["Client"], str]


class Client:
    """One connection after another to the server."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.random = random.Random(seed)
        self._address = host, port

    def open(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=_TIMEOUT_SECONDS)

    def ask(self, message: bytes) -> str:
        """The status of the first answer; `closed` where there is none."""
        with self.open() as sock:
            with contextlib.suppress(OSError):
                # Refused before it was all sent: the answer is to be read.
                sock.sendall(message)
            return _status(sock)


def post(body: bytes, target: str = f"/predict/{MODEL}", *lines: str) -> bytes:
    named = ["Host: a", "Content-Type: application/json", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([f"POST {target} HTTP/1.1", *named, "", ""]).encode() + body


def _status(sock: socket.socket) -> str:
    content = b""
    try:
        while b"\r\n" not in content:
            part = sock.recv(65536)
            if not part:
                break
            content += part
    except TimeoutError:
        return "silent"
    except OSError:
        pass
    return content[9:12].decode("latin-1") if content.startswith(b"HTTP/1.1 ") else "closed"


_LARGE = post(b'{"features": [[' + b"1," * (_LARGE_BYTES // 2) + b"1]]}")
_DEEP = post(b'{"features": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def _pipelined(client: Client) -> str:
    """Answers that nobody reads."""
    with client.open() as sock:
        sock.sendall(post(_GOOD) * _PIPELINED)
        time.sleep(0.05)
    return "left"


def _dripping(client: Client) -> str:
    until = time.monotonic() + _DRIP_SECONDS
    with client.open() as sock:
        sock.sendall(b"POST /predict/" + MODEL.encode() + b" HTTP/1.1\r\nHost: a\r\n")
        while time.monotonic() < until:
            try:
                sock.sendall(b"X")
            except OSError:
                return "closed"
            time.sleep(_DRIP_PAUSE)
    return "left"


def _leaving(client: Client) -> str:
    """Within the body, or before the answer."""
    message = post(_GOOD)
    with client.open() as sock:
        sock.sendall(message[: client.random.randrange(20, len(message) + 1)])
    return "left"


def _upgrading(client: Client) -> str:
    offer = client.random.choice(["h2c", "websocket", "TLS/1.2"])
    return client.ask(post(_GOOD, f"/predict/{MODEL}", "Connection: Upgrade", f"Upgrade: {offer}"))


def _misnaming(client: Client) -> str:
    name = client.random.choice(["no_such", "..%2f..%2fetc", "%00", "x" * 9000, f"{MODEL}/"])
    return client.ask(post(_GOOD, f"/predict/{name}"))


def _malforming(client: Client) -> str:
    message = bytearray(post(_GOOD))
    message[client.random.randrange(0, 12)] = client.random.choice(b"\0 \xff\r:")
    return client.ask(bytes(message))


ABUSES: dict[str, Abuse] = {
    "malformed head": _malforming,
    "wrong JSON": lambda client: client.ask(post(b'{"features": [[1, 2, 3, 4}')),
    "ragged rows": lambda client: client.ask(post(b'{"features": [[1, 2, 3, 4], [1, 2]]}')),
    "16 MiB of integers": lambda client: client.ask(_LARGE),
    "pipelined, not read": _pipelined,
    "head of 1 MiB": lambda client: client.ask(post(_GOOD, f"/predict/{MODEL}", "X-A: " + "a" * _HEAD_BYTES)),
    "slow drip": _dripping,
    "upgrade offer": _upgrading,
    "NaN": lambda client: client.ask(post(b'{"features": [[1, NaN, 3, 4]]}')),
    "deep JSON": lambda client: client.ask(_DEEP),
    "wrong model": _misnaming,
    "leaves": _leaving,
}  # fmt: skip


class _Run:
    def __init__(self, seconds: float, least: int) -> None:
        self._until = time.monotonic() + seconds
        self._least = least
        self._done = 0
        self._lock = threading.Lock()
        self.seen: dict[str, Counter[str]] = {name: Counter() for name in ABUSES}

    def work(self, client: Client) -> None:
        kinds = list(ABUSES)
        client.random.shuffle(kinds)
        while True:
            for kind in kinds:
                if time.monotonic() >= self._until and self._done >= self._least:
                    return
                try:
                    outcome = ABUSES[kind](client)
                except OSError as error:
                    outcome = type(error).__name__
                with self._lock:
                    self.seen[kind][outcome] += 1
                    self._done += 1


def _main(url: str, connections: int, seconds: float, least: int) -> None:
    os.nice(_NICE)
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    run = _Run(seconds, least)
    clients = [Client(parts.hostname, parts.port, seed) for seed in range(connections)]
    threads = [threading.Thread(target=run.work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(run.seen))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
