"""What a running adapter says to rows: answers, refusals, no room for now, and silence."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from schwift.commands.served_rows import ServedAnswer, ServedModel


@contextlib.contextmanager
def serving(*answers: tuple[int, Any]) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """Give these answers in turn; yield the port, and what was asked."""
    asked: list[tuple[str, Any]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, json.loads(body)))
            status, said = left.pop(0)
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_rows_are_sent_as_clients_send_them() -> None:
    with serving((200, {"predictions": [[1.0]]})) as (port, asked):
        model = ServedModel("127.0.0.1", port, "m", 5)
        assert model.ask("predict", [["Zürich"]]) == ServedAnswer(200, [[1.0]])
    assert asked == [("/predict/m", {"features": [["Zürich"]]})]


def test_a_refusal_says_why() -> None:
    with serving((422, {"detail": "features has no rows."})) as (port, _):
        served = ServedModel("127.0.0.1", port, "m", 5).ask("predict", [])
    assert not served.answered
    assert served.explain() == "422: features has no rows."


def test_it_asks_again_when_there_was_no_room() -> None:
    with serving((503, {"detail": "later"}), (200, {"predictions": [[2]]})) as (port, asked):
        model = ServedModel("127.0.0.1", port, "m", 5)
        assert model.ask("predict", [[1]]) == ServedAnswer(200, [[2]])
    assert model.requests == len(asked) == 2


def test_it_gives_up_in_the_end() -> None:
    with serving(*[(503, {"detail": "later"})] * 4) as (port, asked):
        assert ServedModel("127.0.0.1", port, "m", 5).ask("predict", [[1]]).status == 503
    assert len(asked) == 4


def test_no_connection_is_no_answer() -> None:
    with serving() as (port, _):
        pass
    served = ServedModel("127.0.0.1", port, "m", 5).ask("predict", [[1]])
    assert served.status == 504
    assert served.detail.startswith("no answer: ")
