"""A real server of two models on a socket, and what may be sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import uvicorn
import uvloop

from adapter.backend.protocol import Arrays
from adapter.http.answer import Answer
from adapter.http.predict import PredictEndpoint, Request
from adapter.sockets.fast_protocol import PredictProtocol
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http.web_app import make_app

SECONDS = 10.0
ROW = [1.0, 2.0, 3.0, 4.0]
V2 = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}).encode()
_V2_HEAD = V2.replace(json.dumps({"data": ROW})[1:-1].encode(), b'"parameters": {"binary_data_size": 16}')
V2_RAW = _V2_HEAD + np.array(ROW, np.float32).tobytes()
V2_LENGTH = f"Inference-Header-Content-Length: {len(_V2_HEAD)}"
V2_PATH = "/v2/models/m/infer"
GOOD = json.dumps({"features": [ROW]}).encode()
LIMIT = 2000
# An answer of megabytes.
WIDE = 300_000


class Talk:
    """One connection. An answer is its status, its headers but those that differ from one to the next, and its body."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._got = b""

    def send(self, *pieces: bytes) -> None:
        """Each in a packet of its own."""
        for i, piece in enumerate(pieces):
            if i:
                # Until the server has read the one before, on a busy machine too.
                time.sleep(0.05)
            self.sock.sendall(piece)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = self._until(lambda got: got.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in got else 0)
        first, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = int(headers["content-length"])
        body = self._until(lambda got: size if len(got) >= size else 0) if size else b""
        assert headers.pop("date")
        request_id = headers.pop("x-request-id")
        # The id of an error stands in its body too.
        return int(first.split()[1]), headers, body.replace(request_id.encode(), b"ID")

    def predictions(self) -> Any:
        status, _, body = self.answer()
        assert status == 200, body
        return json.loads(body)["predictions"]

    def ended(self) -> bool:
        """Whether the server closed it, and sent nothing before."""
        return self._got == b"" and self.sock.recv(1) == b""

    def _until(self, size: Callable[[bytes], int]) -> bytes:
        while not (end := size(self._got)):
            piece = self.sock.recv(1 << 20)
            assert piece, f"closed after {self._got[-1000:]!r}"
            self._got += piece
        taken, self._got = self._got[:end], self._got[end:]
        return taken


class Running:
    """A server of `m`, the sums of each row, and of `wide`. A row with a negative number first waits for the gate."""

    def __init__(self) -> None:
        self.backend = FakeBackend(self._answer)
        self.port = 0
        self.express = 0
        self.gate = threading.Event()

    async def _answer(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        x = arrays["x"]
        while x[0, 0] < 0 and not self.gate.is_set():
            await asyncio.sleep(0.001)
        if model.startswith("wide"):
            return {"y": np.full((len(x), WIDE), x[0, 0], np.float32)}
        return {"y": np.stack([x.sum(1), -x.sum(1)], 1)}

    @contextlib.contextmanager
    def talk(self) -> Iterator[Talk]:
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Talk(sock)

    def calls(self, model: str, rows: Sequence[Sequence[float]]) -> int:
        """How often it was asked for exactly these rows; probes have rows of their own, and come when they like."""
        return sum(call.model.startswith(model) and call.arrays["x"].tolist() == rows for call in self.backend.calls)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=SECONDS) as answer:
            return str(answer.read(), "utf-8")


class CountingEndpoint:
    """An endpoint, for the protocol alone: requests that take the usual way are not counted."""

    def __init__(self, endpoint: PredictEndpoint, running: Running) -> None:
        self._endpoint = endpoint
        self._running = running

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    async def answer(self, request: Request) -> Answer:
        self._running.express += 1
        return await self._endpoint.answer(request)


@contextlib.contextmanager
def serving(keep_alive: int = 30, http: Any = PredictProtocol, in_front: bool = True) -> Iterator[Running]:
    """`http` is the protocol, also one of uvicorn's by name; `in_front` has the short cut in front of the framework."""
    running = Running()
    entries = make_entry("m"), make_entry("wide", outputs=(("y", "float32", (WIDE,)),))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        running.port = sock.getsockname()[1]
        app = make_app(running.backend, *entries, max_body_bytes=LIMIT)

        class Counted(PredictProtocol):
            endpoint = cast(PredictEndpoint, CountingEndpoint(app.endpoint, running))

        config = uvicorn.Config(
            app if in_front else app.app, loop="none", http=Counted if http is PredictProtocol else http,
            ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            proxy_headers=False, timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)

        def run() -> None:
            with contextlib.closing(uvloop.new_event_loop()) as loop:
                loop.run_until_complete(server.serve(sockets=[sock]))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            wait_until(lambda: running.metrics().count("schwift_model_ready{") == 2)
            wait_until(lambda: not re.search(r"schwift_model_ready\{.*\} 0", running.metrics()))
            yield running
        finally:
            running.gate.set()
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def post(body: bytes, *headers: str, path: str = "/predict/m", version: str = "1.1", length: bool = True) -> bytes:
    given = [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([f"POST {path} HTTP/{version}", "Host: x", *given, *headers, "", ""]).encode() + body


def row(first: float) -> bytes:
    return post(json.dumps({"features": [[first, 0, 0, 0]]}).encode())


SMALL = {
    "a row": (post(GOOD), 200),
    "rows": (post(json.dumps({"features": [ROW, ROW]}).encode()), 200),
    "a row for the batcher": (post(GOOD, path="/predict_batched/m"), 200),
    "batched already": (post(json.dumps({"features": [ROW, ROW]}).encode(), path="/predict_batched/m"), 422),
    "a media type": (post(GOOD, "Content-Type: application/json; charset=utf-8"), 200),
    "wrong media type": (post(GOOD, "Content-Type: text/plain"), 415),
    "compressed": (post(gzip.compress(GOOD, mtime=0), "Content-Encoding: gzip"), 200),
    "compressed by name alone": (post(GOOD, "Content-Encoding: gzip"), 400),
    "compressed otherwise": (post(GOOD, "Content-Encoding: br"), 415),
    "a byte order mark": (post(b"\xef\xbb\xbf" + GOOD), 200),
    "wrong features": (post(b'{"features": [["a"]]}'), 422),
    "no JSON": (post(b'{"features"'), 400),
    "no body": (post(b""), 400),
    "bad deadline": (post(GOOD, "X-Request-Timeout-Ms: soon"), 400),
    "keep-alive": (post(GOOD, "Connection: keep-alive"), 200),
    "V2": (post(V2, path=V2_PATH), 200),
    "V2 with raw tensors": (post(V2_RAW, V2_LENGTH, "Content-Type: application/octet-stream", path=V2_PATH), 200),
    "V2 with wrong tensors": (post(V2.replace(b"4.0", b"true"), path=V2_PATH), 400),
    "V2, compressed": (post(gzip.compress(V2, mtime=0), "Content-Encoding: gzip", path=V2_PATH), 200),
    "V2 as a form": (post(V2, "Content-Type: application/x-www-form-urlencoded", path=V2_PATH), 415),
    "V2 with a bad length": (post(V2, "Inference-Header-Content-Length: all", path=V2_PATH), 400),
}
USUAL = {
    "no length": (post(b"", length=False), 400),
    "in chunks": (post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD), "Transfer-Encoding: chunked", length=False), 200),
    "too large": (post(b" " * (LIMIT + 1)), 413),
    "closing": (post(GOOD, "Connection: close"), 200),
    "of old": (post(GOOD, version="1.0"), 200),
    "unknown model": (post(GOOD, path="/predict/nobody"), 404),
    "a query": (post(GOOD, path="/predict/m?a=b"), 200),
    "escaped": (post(GOOD, path="/predict/%6d"), 200),
    "V2, escaped": (post(V2, path="/v2/models/%6d/infer"), 200),
    "V2, a version": (post(V2, path="/v2/models/m/versions/1/infer"), 200),
    "V2, unknown": (post(V2, path="/v2/models/nobody/infer"), 404),
    "V2, too large": (post(b" " * (LIMIT + 1), path=V2_PATH), 413),
    "a longer path": (post(GOOD, path="/predict/m/more"), 404),
    "another method": (post(GOOD).replace(b"POST", b"PUT"), 405),
}
# After these the connection is closed.
ENDING = [USUAL[name][0] for name in ("closing", "of old")]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def asked(server: Running, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    with server.talk() as talk:
        talk.send(*pieces)
        return talk.answer()
