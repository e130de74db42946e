"""Models' files that are others than were built: their models fail with the reason, and no byte of them runs (A46)."""

from __future__ import annotations

import os
import pickle
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
from sklearn.neighbors import KNeighborsRegressor

from converter.schema.manifest import read_manifest
from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.factor_model import schwift
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

ROWS = np.random.default_rng(0).normal(size=(20_000, 8))
REMEDY = "build the repository again with `schwift build-repo`"


class Payload:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


def add_neighbours(models: Path, name: str) -> None:
    """A model that keeps the rows of its fit, 1.2 MB of them, in two processes."""
    folder = sample_models.folder(
        models,
        name,
        f"""\
        model:
          name: {name}
          backend: sklearn
          model_args: {{model_file: m.joblib}}
          input: {{shape: [-1, 8], dtype: float64}}
          output: {{shape: [-1, 1], dtype: float64}}
          instances: 2
        """,
    )
    model = KNeighborsRegressor(n_neighbors=1, algorithm="brute").fit(ROWS, np.arange(len(ROWS)))
    joblib.dump(model, folder / "m.joblib")


def served_file(server: Server, name: str) -> Path:
    (path,) = server.repository.glob(f"{name}_direct/1/source/models/{name}/m.joblib")
    return path


def states(server: Server) -> dict[str, tuple[str, str]]:
    models = httpx.get(f"{server.url}/health").json()["models"]
    return {name: (model["state"], model["reason"]) for name, model in models.items()}


def mapped(pid: int, path: Path) -> dict[str, int]:
    """What a process has of a file in its memory, in KiB, by whether other processes have it too."""
    text = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
    sizes = {"Shared_Clean": 0, "Private_Dirty": 0}
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE):
        if part.partition("\n")[0].endswith(f" {path.resolve()}"):
            for name in sizes:
                sizes[name] += int(re.findall(rf"^{name}: +(\d+) kB", part, re.MULTILINE)[0])
    return sizes


def test_A46_a_file_that_was_swapped_after_the_build_fails_its_model_alone(tmp_path: Path) -> None:
    models, canary = tmp_path / "models", tmp_path / "canary"
    for name in ("good", "swapped", "linked"):
        add_neighbours(models, name)
    with serving(models, tmp_path) as server:
        # The instances have one copy of the arrays.
        for _ in range(20):
            assert server.post("predict", "good", [list(ROWS[7])]).json()["predictions"] == [[7.0]]
        found = [mapped(pid, served_file(server, "good")) for pid in pids.stubs(server, "good_direct")]
        assert [sizes["Private_Dirty"] for sizes in found] == [0, 0]
        assert max(sizes["Shared_Clean"] for sizes in found) > ROWS.nbytes // 1024 * 0.9

        file = served_file(server, "swapped")
        bad = tmp_path / "bad"
        bad.write_bytes(pickle.dumps(Payload(canary)).ljust(file.stat().st_size, b"."))
        os.replace(bad, file)
        link = served_file(server, "linked")
        link.rename(tmp_path / "elsewhere")
        link.symlink_to(tmp_path / "elsewhere")
        os.kill(pids.triton(server), signal.SIGKILL)
        wait_for(lambda: sorted(state for state, _ in states(server).values()) == ["failed", "failed", "ready"], 60)
        reason = f"m.joblib is not the file that was built: its sha256 is another: {REMEDY}"
        assert states(server)["swapped"] == ("failed", reason)
        assert states(server)["linked"][1].startswith("m.joblib cannot be opened as a regular file")
        assert server.post("predict", "good", [list(ROWS[7])]).json()["predictions"] == [[7.0]]
        assert server.post("predict", "swapped", [list(ROWS[7])]).json()["code"] == "model_unavailable"

        # A build finds what is not as it was built, and a reload serves it.
        done = schwift(server, models, "reload")
        assert (done.returncode, done.stderr) == (0, "")
        for name in ("good", "swapped", "linked"):
            assert server.post("predict", name, [list(ROWS[7])]).json()["predictions"] == [[7.0]]
        assert {entry.name: entry.version for entry in read_manifest(server.repository).models} == {
            "good": 1, "swapped": 2, "linked": 2,
        }  # fmt: skip
    assert not canary.exists()
