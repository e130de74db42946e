"""What is written of the config's types stands in docs/ as it is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.documents import ROOT


def run(docs: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "converter.reference", "--docs", str(docs), *options],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_docs_are_as_the_types_say_and_a_change_is_found(tmp_path: Path) -> None:
    assert run(ROOT / "docs", "--check") == (0, "")
    for name in ("configuration.md", "model_config.schema.json"):
        (tmp_path / name).write_bytes((ROOT / "docs" / name).read_bytes())
    page = (tmp_path / "configuration.md").read_text(encoding="utf-8")
    (tmp_path / "configuration.md").write_text(
        page.replace("| `versions` | 2 |", "| `versions` | 3 |"), encoding="utf-8"
    )
    (tmp_path / "model_config.schema.json").unlink()
    code, said = run(tmp_path, "--check")
    assert code == 1
    assert "model_config.schema.json: not as the types say" in said and "configuration.md: not as" in said
    assert not (tmp_path / "model_config.schema.json").exists()
    assert run(tmp_path)[0] == 0
    assert run(tmp_path, "--check") == (0, "")
    assert (tmp_path / "configuration.md").read_text(encoding="utf-8") == page
