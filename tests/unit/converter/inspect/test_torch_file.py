"""torch files of each kind: taken, compiled, or refused with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts, inspect
from converter.trust.operator_trust import OperatorTrust
from tests.support.models.sample_models import add_source, model_yaml

CONFIG = "models/eager/model_config.yaml"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def source_with(tmp_path: Path, content: bytes, net: bytes = b"", **keys: Any) -> ModelSource:
    files = {"m.pt": content, **({"net.py": net} if net else {})}
    source = add_source(tmp_path / "models", "eager", model_yaml("torch", **keys), files)
    return replace(source, trust=OperatorTrust(folders=(tmp_path.resolve(),)))


def refusal_of(source: ModelSource, scratch: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        inspect(source, scratch)
    (problem,) = caught.value.problems
    assert list(scratch.iterdir()) == []
    return problem


def test_torchscript_file_is_taken_as_it_is(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    source = source_with(tmp_path, (torch_files / "script.pt").read_bytes())
    assert inspect(source, scratch) == ModelFacts(package="models", own_code="backend torch is code of its own")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", ["eager.pt", "eager_below.pt", "sequential.pt"])
def test_pickled_module_is_refused_unless_trusted(tmp_path: Path, scratch: Path, torch_files: Path, name: str) -> None:
    source = source_with(tmp_path, (torch_files / name).read_bytes())
    assert refusal_of(source, scratch) == (
        f"{CONFIG}: m.pt is a pickled nn.Module, and unpickling runs code: save it with "
        "torch.jit.script(model).save(...); or, if you made it, write trusted: true and let SCHWIFT_TRUST_FOLDERS name "
        "this folder"
    )


@pytest.mark.parametrize("name", ["eager.pt", "eager_below.pt"])
def test_trusted_module_is_compiled_with_the_code_of_its_folder(
    tmp_path: Path, scratch: Path, torch_files: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    net = (torch_files / "models" / "eager" / "net.py").read_bytes()
    source = source_with(tmp_path, (torch_files / name).read_bytes(), net, trusted=True)
    facts = inspect(source, scratch)
    assert facts.compiled == scratch / "m.pt"
    with zipfile.ZipFile(scratch / "m.pt") as archive:
        assert "archive/constants.pkl" in archive.namelist(), "only TorchScript has constants"
    assert not list((tmp_path / "models").rglob("__pycache__"))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("words.pt", {"input": {"shape": [-1, 5], "dtype": "int64"}}),
        (
            "pair.pt",
            {
                "input": [
                    {"name": "a", "shape": [-1, 4], "dtype": "float32"},
                    {"name": "b", "shape": [-1, 3], "dtype": "float32"},
                ]
            },
        ),
    ],
    ids=["integers", "two inputs"],
)
def test_trusted_module_is_compiled_for_the_inputs_of_its_config(
    tmp_path: Path, scratch: Path, torch_files: Path, name: str, keys: dict[str, Any]
) -> None:
    net = (torch_files / "models" / "eager" / "net.py").read_bytes()
    source = source_with(tmp_path, (torch_files / name).read_bytes(), net, trusted=True, **keys)
    assert inspect(source, scratch).compiled == scratch / "m.pt"


def test_module_whose_code_is_not_here_names_it(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    source = source_with(tmp_path, (torch_files / "eager.pt").read_bytes(), trusted=True)
    assert refusal_of(source, scratch) == (
        f"{CONFIG}: m.pt: reading it needs the package net, which is not installed: pip install net"
    )


@pytest.mark.parametrize("trusted", [True, False])
def test_state_dict_is_refused_with_the_remedy(tmp_path: Path, scratch: Path, torch_files: Path, trusted: bool) -> None:
    source = source_with(tmp_path, (torch_files / "state.pt").read_bytes(), trusted=trusted)
    assert refusal_of(source, scratch) == (
        f"{CONFIG}: m.pt is a state dict, which has weights and no model: load it into the model and save that with "
        "torch.jit.script(model).save(...)"
    )


def test_checkpoint_of_a_state_dict_is_refused_as_one(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    source = source_with(tmp_path, (torch_files / "checkpoint.pt").read_bytes(), trusted=True)
    assert "m.pt is a state dict" in refusal_of(source, scratch)


def test_trusted_file_that_holds_no_module_says_what_it_holds(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    net = (torch_files / "models" / "eager" / "net.py").read_bytes()
    source = source_with(tmp_path, (torch_files / "list.pt").read_bytes(), net, trusted=True)
    assert refusal_of(source, scratch) == (
        f"{CONFIG}: m.pt: holds a list, not an nn.Module: save the model with torch.jit.script(model).save()"
    )


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("name", ["script.pt", "eager.pt"])
def test_file_cut_short_is_refused(tmp_path: Path, scratch: Path, torch_files: Path, name: str, trusted: bool) -> None:
    content = (torch_files / name).read_bytes()
    source = source_with(tmp_path, content[: len(content) // 2], trusted=trusted)
    assert refusal_of(source, scratch) == (
        f"{CONFIG}: m.pt is damaged, or older than torch 1.6: save it again with torch.jit.script(model).save()"
    )


def test_file_of_the_format_before_torch_1_6_is_refused(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    source = source_with(tmp_path, (torch_files / "old.pt").read_bytes(), trusted=True)
    assert "older than torch 1.6" in refusal_of(source, scratch)


def test_archive_with_damage_in_its_middle_is_refused(tmp_path: Path, scratch: Path, torch_files: Path) -> None:
    content = bytearray((torch_files / "eager.pt").read_bytes())
    with zipfile.ZipFile(torch_files / "eager.pt") as archive:
        start = archive.getinfo("eager/data.pkl").header_offset + 100
    content[start : start + 40] = b"\xff" * 40
    assert "m.pt is damaged" in refusal_of(source_with(tmp_path, bytes(content)), scratch)


def test_archive_that_is_not_torchs_is_refused(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refusal_of(source_with(tmp_path, path.read_bytes()), scratch) == (
        f"{CONFIG}: m.pt is not a torch file: save it with torch.jit.save()"
    )


def test_untrusted_pickle_is_not_run(tmp_path: Path, scratch: Path) -> None:
    flag = tmp_path / "ran"
    harm = f"cbuiltins\nopen\n(V{flag}\nVw\ntR.".encode()
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", harm)
    assert "unpickling runs code" in refusal_of(source_with(tmp_path, path.read_bytes()), scratch)
    assert not flag.exists()


_INSPECT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from converter.errors import ArtifactError
from converter.inspect.inspector import inspect
from converter.trust.operator_trust import OperatorTrust
from dataclasses import replace
from tests.support.models.sample_models import source_of
try:
    inspect(replace(source_of(Path(sys.argv[2])), trust=OperatorTrust(anything=True)), Path(sys.argv[3]))
except ArtifactError as error:
    print(error)
"""


@pytest.mark.parametrize("isolated", [True, False])
def test_process_that_unpickles_is_as_isolated_as_the_build(
    tmp_path: Path, scratch: Path, torch_files: Path, isolated: bool
) -> None:
    net = b"import os, sys\nraise ValueError(sys.flags.no_user_site, os.environ.get('PYTHONPATH'), hash('seed'))\n"
    source = source_with(tmp_path, (torch_files / "eager.pt").read_bytes(), net, trusted=True)
    root = str(Path(__file__).parents[4])

    def run(*arguments: str, **variables: str) -> str:
        environment = {**os.environ, "PYTHONPATH": root, **variables}
        return subprocess.check_output([sys.executable, *arguments], env=environment, text=True, cwd="/")

    flags = ["-I"] if isolated else []
    said = run(*flags, "-c", _INSPECT, root, str(source.folder), str(scratch), PYTHONHASHSEED="7")
    # The same module gives the same bytes, so the order of sets is fixed either way.
    seed = run("-c", "print(hash('seed'))", PYTHONHASHSEED="0").strip()
    assert said.strip().endswith(f"({int(isolated)}, {None if isolated else root!r}, {seed})")
