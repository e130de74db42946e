"""The chaos run itself, cut short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.server import ROOT, environment


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir()
    return subprocess.run(
        [sys.executable, "-m", *arguments, "--output", str(folder / "found")],
        cwd=ROOT, env=environment(folder, {}), capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_chaos_for_half_a_minute(tmp_path: Path) -> None:
    done = run(tmp_path, "tests.chaos", "--minutes", "0.5", "--seed", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found" / "chaos.json").read_text())
    assert found["violations"] == {}
    assert {bar["what"] for bar in found["bars"] if not bar["met"]} == set()
    assert len(found["faults"]) >= 3
    assert all(fault["recovered"] >= fault["ended"] for fault in found["faults"])
    assert f"| {found['faults'][0]['kind']} | " in (tmp_path / "found" / "chaos.md").read_text()
    assert (tmp_path / "found" / "chaos.png").read_bytes().startswith(b"\x89PNG")
