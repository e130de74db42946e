"""`schwift memory` beside a real server with packed models and one that is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.servers import packed_models
from tests.support.servers.asking import ask, health, metric
from tests.support.servers.server import ROOT, Server, serving, wait_for

MIB = 2**20
ALONE = "alone"


def memory(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schwift", "memory", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def ask_until_measured(server: Server) -> None:
    """Have the packed models loaded, and wait until the processes were measured."""
    assert ask(server, packed_models.TIMES, [[1.0, 2.0]]).body["predictions"] == [[3, 6]]
    assert ask(server, ALONE, [[1.0, 2.0]]).body["predictions"] == [[7, 14]]
    wait_for(lambda: metric(server, "schwift_pack_memory_bytes", pack="default") > 0, 60)
    wait_for(lambda: metric(server, "schwift_model_memory_bytes", model_name=ALONE) > 0, 60)


def metrics_of(server: Server) -> dict[str, float]:
    pack = metric(server, "schwift_pack_memory_bytes", pack="default")
    times = metric(server, "schwift_model_memory_bytes", model_name=packed_models.TIMES)
    other = metric(server, "schwift_model_memory_bytes", model_name=packed_models.OTHER)
    return {"alone": metric(server, "schwift_model_memory_bytes", model_name=ALONE), "times": times,
            "process": pack + times + other}  # fmt: skip


def test_the_table_has_what_the_metrics_say(tmp_path: Path) -> None:
    models = tmp_path / "models"
    packed_models.put_times(models, 3)
    packed_models.put_times(models, 5, packed_models.OTHER)
    packed_models.put_times(models, 7, ALONE, pack=False)
    with serving(models, tmp_path, **packed_models.PACKED) as server:
        ask_until_measured(server)

        def compared() -> bool:
            """One measurement of the server's lies between no two of ours."""
            before = metrics_of(server)
            shown, text = json.loads(memory(server.url, "--json").stdout), memory(server.url).stdout
            if metrics_of(server) != before:
                return False
            found = {item["name"]: item for item in shown["models"]}
            assert set(found) == {ALONE, packed_models.TIMES, packed_models.OTHER}
            for name, item in found.items():
                assert item["state"] == health(server, name)["state"] == "ready"
                assert item["pack"] == (None if name == ALONE else "default")
            assert found[ALONE]["model_bytes"] == found[ALONE]["process_bytes"] == before["alone"] > 30 * MIB
            assert (found["times"]["model_bytes"] or 0) == before["times"]
            assert found["times"]["process_bytes"] == found["other"]["process_bytes"] == before["process"] > 30 * MIB
            assert shown["process_bytes"] == before["alone"] + before["process"]
            assert shown["model_bytes"] == sum(item["model_bytes"] or 0 for item in shown["models"])
            lines = [line.split() for line in text.splitlines()]
            assert lines[0] == ["MODEL", "PACK", "STATE", "MB", "PROCESS", "MB"]
            assert [ALONE, "-", "ready", *2 * [f"{before['alone'] / MIB:.1f}"]] in lines
            assert lines[-1][:3] == ["3", "in", "all"]
            assert lines[-1][-1] == f"{shown['process_bytes'] / MIB:.1f}"
            return True

        wait_for(compared, 60)
        url = server.url
    gone = memory(url)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith(f"error: no server answers at {url}: ")
    assert gone.stderr.endswith("start `schwift serve`, or name another URL\n")
