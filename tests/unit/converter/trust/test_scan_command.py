"""`schwift scan`: what it prints, its exit code, and its bounds."""

from __future__ import annotations

import json
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from converter.cli import main
from converter.trust.operator_trust import OperatorTrust
from converter.trust.scan_command import scan_files
from tests.support.attacks import bad_pickles, pickle_calls

MIB = 1024 * 1024


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["scan", *map(str, arguments)])


def bomb(mib: int) -> bytes:
    """A pickle of so many MiB in one value, compressed."""
    return zlib.compress(b"\x80\x04\x8e" + (mib * MIB).to_bytes(8, "little") + bytes(mib * MIB) + b".")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "bad.pkl").write_bytes(pickle_calls.calls(tmp_path / "canary")["os:system"])
    (tmp_path / "good.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps([1, 2])[:-2])
    (tmp_path / "graph.onnx").write_bytes(b"graph")
    (tmp_path / "notes.md").write_bytes(b"no model")
    np.save(tmp_path / "numbers.npy", np.arange(3))
    (tmp_path / "objects.npy").write_bytes(bad_pickles.shapes(tmp_path / "canary")["npy"])
    with zipfile.ZipFile(tmp_path / "eager.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"ctorch.nn.modules.linear\nLinear\n)\x81.")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"c__torch__\nNet\n)\x81.")
        archive.writestr("m/constants.pkl", b").")
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", (tmp_path / "objects.npy").read_bytes())
    return tmp_path


def test_each_file_of_a_folder_has_its_verdict(files: Path) -> None:
    done = scan(files, "--format", "json")
    said = {Path(report["path"]).name: report["verdict"] for report in json.loads(done.output)}
    assert said == {
        "arrays.npz": "refused", "bad.pkl": "refused", "cut.pkl": "damaged", "eager.pt": "refused",
        "good.pkl": "allowed",
        "graph.onnx": "no code of this kind", "numbers.npy": "no code of this kind", "objects.npy": "refused",
        "script.pt": "no code of this kind",
    }  # fmt: skip
    assert done.exit_code == 1
    assert not (files / "canary").exists()


def test_json_has_each_use_and_the_hash(files: Path) -> None:
    (report,) = json.loads(scan(files / "bad.pkl", "--format", "json").output)
    assert report["refused"] == report["uses"] == [["os", "system", "call"]]
    assert len(report["sha256"]) == 64


def test_text_says_what_is_refused(files: Path) -> None:
    lines = scan(files / "bad.pkl").output.splitlines()
    assert lines[0] == f"{files}/bad.pkl: refused"
    assert "  call: os.system" in lines


def test_what_is_allowed_ends_with_0(files: Path) -> None:
    done = scan(files / "good.pkl", files / "graph.onnx")
    assert (done.exit_code, done.output.count("sha256")) == (0, 2)


def test_folder_without_models_is_a_mistake(tmp_path: Path) -> None:
    assert scan(tmp_path).exit_code == 2


def test_A21_file_that_takes_too_much_is_told_and_the_rest_is_read(files: Path) -> None:
    (files / "bomb.pkl").write_bytes(bomb(1100))
    reports = scan_files([files / "bomb.pkl", files / "good.pkl"], OperatorTrust())
    assert [report.verdict for report in reports] == ["too large", "allowed"]
