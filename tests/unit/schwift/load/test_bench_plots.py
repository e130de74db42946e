from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from schwift.load.bench_plots import check_plotting, draw
from schwift.load.bench_server import BenchProblem
from tests.unit.schwift.load.step_results import make_document, make_result

PNG = b"\x89PNG\r\n\x1a\n"


def width(path: Path) -> int:
    """That of the header."""
    data = path.read_bytes()
    assert data.startswith(PNG)
    return int.from_bytes(data[16:20], "big")


def test_a_ramp_has_a_panel_more_than_a_step(tmp_path: Path) -> None:
    draw(make_document(make_result(1), make_result(4, rate=50.0), make_result(1, model="texts")), tmp_path / "ramp.png")
    draw(make_document(make_result(1)), tmp_path / "step.png")
    assert width(tmp_path / "ramp.png") == 1.5 * width(tmp_path / "step.png")


def test_what_was_not_answered_is_drawn_too(tmp_path: Path) -> None:
    draw(make_document(make_result(rates=(0.0,), outcomes={"500": 3}, histograms={})), tmp_path / "none.png")
    assert width(tmp_path / "none.png") > 0


def test_without_matplotlib_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    check_plotting()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchProblem, match=r"--png needs matplotlib, .* pip install 'schwift\[plot\]'"):
        check_plotting()
