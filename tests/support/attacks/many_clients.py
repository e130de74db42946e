"""Very many clients behind one trusted proxy, one request each, and what they cost a server."""

from __future__ import annotations

import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.support.servers import pids
from tests.support.servers.server import Server

CONNECTIONS = 8


def come(server: Server, first: int, end: int) -> Counter[int]:
    """A request of each of these clients, which fails after the quota and before the model; its statuses."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = pool.map(lambda part: _come(server.url, range(first + part, end, CONNECTIONS)), range(CONNECTIONS))
        return sum(parts, Counter())


def _come(url: str, clients: range) -> Counter[int]:
    address = urlsplit(url)
    assert address.hostname and address.port
    body = json.dumps({"features": []}).encode()
    found: Counter[int] = Counter()
    with socket.create_connection((address.hostname, address.port), timeout=60) as sock, sock.makefile("rb") as answers:
        for i in clients:
            sock.sendall(
                b"POST /predict/multiply HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                b"X-Forwarded-For: 10.%d.%d.%d\r\nContent-Length: %d\r\n\r\n%b"
                % (i >> 16, i >> 8 & 255, i & 255, len(body), body)
            )
            found[int(answers.readline().split()[1])] += 1
            length = 0
            while line := answers.readline().strip():
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
    return found


def memory(server: Server) -> int:
    """That of the largest of the adapter's processes, in bytes."""
    return max(pids.resident(pid) for pid in pids.adapters(server))
