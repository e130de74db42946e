"""Triton's log files of the starts before."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.embedded import old_logs


def test_a_large_log_is_set_aside_and_five_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_logs, "_MOST_BYTES", 4)
    log = tmp_path / "triton.log"
    for number in range(8):
        log.write_text(f"log {number}", encoding="utf-8")
        old_logs.set_aside(log)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        f"triton.log.{i}": f"log {8 - i}" for i in range(1, 6)
    }


def test_a_small_log_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "triton.log"
    old_logs.set_aside(log)
    log.write_text("a few lines", encoding="utf-8")
    old_logs.set_aside(log)
    assert [path.name for path in tmp_path.iterdir()] == ["triton.log"]
