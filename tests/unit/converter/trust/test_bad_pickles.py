"""No pickle that runs something is let in (A21), and none of it runs while it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.trust.operator_trust import OperatorTrust
from converter.trust.scan import ALLOWED, DAMAGED, REFUSED, FileReport, scan_file
from tests.support.attacks import bad_pickles, pickle_calls

_ANY = Path("/canary")
SHAPES, CALLS, STRUCTURES = (
    sorted(kind(_ANY)) for kind in (bad_pickles.shapes, pickle_calls.calls, bad_pickles.structures)
)


def scan(folder: Path, content: bytes) -> FileReport:
    (folder / "m.joblib").write_bytes(content)
    report = scan_file(folder / "m.joblib", OperatorTrust())
    assert not (folder / "canary").exists()
    return report


@pytest.mark.parametrize("name", SHAPES)
def test_A21_payload_is_refused_in_every_shape(tmp_path: Path, name: str) -> None:
    report = scan(tmp_path, bad_pickles.shapes(tmp_path / "canary")[name])
    assert report.verdict == REFUSED, report
    assert report.reason


@pytest.mark.parametrize("name", CALLS)
def test_A21_call_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    report = scan(tmp_path, pickle_calls.calls(tmp_path / "canary")[name])
    assert report.verdict == REFUSED, report
    module, function = name.split(":")
    assert (
        f"{module}.{function}" in report.reason or "unusual arguments" in report.reason or "saved by" in report.reason
    )


@pytest.mark.parametrize("name", STRUCTURES)
def test_A21_what_is_bad_by_no_name_is_refused(tmp_path: Path, name: str) -> None:
    report = scan(tmp_path, bad_pickles.structures(tmp_path / "canary")[name])
    assert report.verdict in (REFUSED, DAMAGED), report
    assert report.verdict == REFUSED or name in ("overflowing_shape", "cut_short"), report


def test_modules_of_python_beside_the_file_do_not_let_it_in(tmp_path: Path) -> None:
    for name in ("os.py", "posix.py", "joblib.py", "distutils.py"):
        (tmp_path / name).write_text("def system(x): ...\ndef load(x): ...\ndef spawn(x): ...\n")
    for call in ("os:system", "posix:system", "joblib:load"):
        report = scan(tmp_path, pickle_calls.calls(tmp_path / "canary")[call])
        assert (report.verdict, report.own) == (REFUSED, ())


def test_own_class_beside_the_file_is_let_in_and_named(tmp_path: Path) -> None:
    content = b"\x80\x02cown_steps\nStep\n)\x81."
    assert scan(tmp_path, content).verdict == REFUSED
    (tmp_path / "own_steps.py").write_text("from os import system\n\n\nclass Step: ...\n")
    report = scan(tmp_path, content)
    assert (report.verdict, report.own) == (ALLOWED, ("own_steps.py",))
    # What that module imports is not its own.
    assert scan(tmp_path, b"\x80\x02cown_steps\nsystem\nX\x01\x00\x00\x00x\x85R.").verdict == REFUSED
