"""A `.env` of the first SchwiftServe: its names, its quotes, its spelling of the folder."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.servers import triton_log
from tests.support.servers.server import ROOT, Server, serving
from tests.support.servers.users_env import USERS_ENV

ROW = [[1, 2, 3]]
LINE = re.compile(r"(\S+ \S+) (INFO|WARNING) schwift\.requests: (.*)")


def folder_with(tmp_path: Path, env: str) -> Path:
    shutil.copytree(ROOT / "models" / "multiply", tmp_path / "Models" / "multiply")
    (tmp_path / ".env").write_text(env, encoding="utf-8")
    return tmp_path


def lines(path: Path) -> list[dict[str, str]]:
    """The fields of each request's line."""
    found = [LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [dict(word.split("=") for word in line[3].split()) for line in found if line]


def test_it_works_unchanged(tmp_path: Path) -> None:
    # Its port may be taken here: the command's option is all that is given besides.
    with serving(None, folder_with(tmp_path, USERS_ENV)) as server:
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert [model["name"] for model in httpx.get(f"{server.url}/available_models").json()["models"]] == ["multiply"]

        allowed, started = 0, time.monotonic()
        with httpx.Client(base_url=server.url) as client:
            for i in itertools.count():
                path = ("/predict/multiply", "/predict_batched/multiply")[i % 2]
                answer = client.post(path, json={"features": ROW}, headers={"X-Forwarded-For": f"10.0.0.{i % 256}"})
                if answer.status_code == 429:
                    break
                assert answer.json() == {"model": "multiply", "predictions": [[2.5, 5.0, 7.5]]}
                allowed += 1
        # 250 at once, and as many again in the next minute.
        assert 250 <= allowed <= 251 + (time.monotonic() - started) * 250 / 60
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert 'code="quota_exceeded"' in httpx.get(f"{server.url}/metrics").text
    # Without DEBUG_MODE nothing is written but the repository.
    assert not (tmp_path / "logs").exists()


def until_every_worker_serves(server: Server) -> None:
    """A worker that does not lead hears of a model a moment later; a new connection goes to any of them."""
    deadline = time.monotonic() + 20
    while any(server.post("predict", "multiply", ROW).status_code != 200 for _ in range(16)):
        assert time.monotonic() < deadline


def one_worker(server: Server, logs: Path) -> list[dict[str, str]]:
    return lines(logs / "schwift.log")


def two_workers(server: Server, logs: Path) -> list[dict[str, str]]:
    assert not (logs / "schwift.log").exists()
    return lines(logs / "schwift-worker0.log") + lines(logs / "schwift-worker1.log")


@pytest.mark.parametrize(("workers", "read"), [("1", one_worker), ("2", two_workers)])
def test_debug_mode_writes_the_time_of_each_stage(
    tmp_path: Path, workers: str, read: Callable[[Server, Path], list[dict[str, str]]]
) -> None:
    env = USERS_ENV.replace("DEBUG_MODE=False", "DEBUG_MODE=True")
    with serving(None, folder_with(tmp_path, env), SCHWIFT_WORKERS=workers) as server:
        until_every_worker_serves(server)
        answers = [server.post("predict", "multiply", ROW * 2) for _ in range(20)]
        refused = server.post("predict", "multiply", [["evil\nline"]], headers={"X-Request-Id": "the-refused-one"})
        written = {line["request_id"]: line for line in read(server, tmp_path / "logs")}
        # On the console, requests are nobody's warnings.
        assert "the-refused-one" not in server.output
        triton_log.assert_is_rotated(tmp_path / "logs")
    for answer in answers:
        line = written[answer.headers["x-request-id"]]
        known = {name: line[name] for name in ("endpoint", "model", "rows", "regime", "status", "code", "client")}
        assert known == {"endpoint": "predict", "model": "multiply", "rows": "2", "regime": "idle", "status": "200",
                         "code": "ok", "client": "127.0.0.1"}  # fmt: skip
        stages = [float(line[f"{stage}_ms"]) for stage in ("parse", "queue", "model", "write")]
        assert stages[0] > 0 and stages[2] > 0 and sum(stages) < float(line["ms"])
    line = written["the-refused-one"]
    assert (refused.status_code, line["status"], line["code"]) == (422, "422", "bad_features")
    assert "evil" not in str(written)
