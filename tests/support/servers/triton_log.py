"""What is asked of triton.log wherever a server runs."""

from __future__ import annotations

from pathlib import Path

from tests.support.servers.server import wait_for


def assert_is_rotated(logs: Path) -> None:
    """While Triton writes it: `filler` is more than a log may hold."""
    log, old = logs / "triton.log", logs / "triton.log.1"
    assert not old.exists()
    with open(log, "ab") as file:
        file.write(b"filler\n" * 2_000_000)
    wait_for(lambda: old.exists() and log.stat().st_size < 1_000_000)
    assert "multiply_direct" in old.read_text(encoding="utf-8")
