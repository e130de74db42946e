"""Which stub a model's process becomes, and with what around it: the script is run by a real shell."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schwift.triton.launcher import STUB, Launch, Launches, write_launcher

# Ends with 1 without arguments, as Triton's stub does.
_FAKE_STUB = """#!/bin/sh
[ $# = 0 ] && exit 1
echo "$0"
echo "$1 $2"
echo "$PATH"
echo "$LD_LIBRARY_PATH"
echo "$SCHWIFT_ENVIRONMENT"
echo "${PYTHONDONTWRITEBYTECODE-unset}"
echo "${PYTHONPATH-unset} ${PYTHONNOUSERSITE-unset}"
cat /proc/$$/timerslack_ns
"""


@dataclass(frozen=True)
class Started:
    """What a fake stub printed of itself."""

    python: str
    arguments: str
    prefix: str
    libraries: str
    environment: str
    keeps_files: bool
    sees_only_its_own: bool


@dataclass(frozen=True)
class Ground:
    """A backend directory, a repository and a store of environments, each with a space and a quote in its name."""

    root: Path
    stubs: dict[str, Path] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "st'ore"

    @property
    def backends(self) -> Path:
        return self.root / "back ends"

    def environment(self, name: str) -> Path:
        python = self.root / name / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.symlink_to("/bin/true")
        return self.root / name

    def write(self, models: Launch | None = None) -> None:
        usual = Launch("3.11", self.environment("usual"), None)
        fronts = Launch("3.12", self.environment("fronts"), self.root / "lib312")
        (self.backends / "python").mkdir(parents=True)
        write_launcher(
            self.backends / "python",
            self.stubs,
            Launches(usual, models or usual, fronts, self.store),
            self.backends / "onnxruntime",
        )

    def version_folder(self, **files: str) -> Path:
        folder = self.root / "repo" / "m_direct" / "1"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def keep(self, key: str, launch: Launch) -> None:
        (self.store / key).mkdir(parents=True)
        (self.store / key / "launch").write_text(launch.to_text(), encoding="utf-8")

    def start(self, folder: Path, libraries: str = "") -> Started:
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": "/more",
            **({"LD_LIBRARY_PATH": libraries} if libraries else {}),
        }
        command = [str(self.backends / "python" / STUB), f"{folder}/model.py", "region"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
        stub, arguments, path, found, key, keeps, sees, slack = done.stdout.splitlines()
        assert arguments == f"{folder}/model.py region"
        assert sees in ("unset 1", "/more unset")
        # Its own threads may wake late: 0.2 s.
        assert slack == "200000000"
        return Started(
            Path(stub).parent.name, arguments, path.split(":")[0], found, key, keeps == "1", sees == "unset 1"
        )


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    made = Ground(tmp_path)
    for version in ("3.10", "3.11", "3.12", "3.13"):
        stub = tmp_path / "engine" / version / STUB
        stub.parent.mkdir(parents=True)
        stub.write_text(_FAKE_STUB, encoding="utf-8")
        stub.chmod(0o755)
        made.stubs[version] = stub
    return made


def test_a_model_without_an_environment_runs_in_the_usual_one(ground: Ground) -> None:
    ground.write()
    started = ground.start(ground.version_folder())
    assert (started.python, started.prefix) == ("3.11", f"{ground.root}/usual/bin")
    assert (started.libraries, started.environment, started.keeps_files) == ("", "", False)
    assert not started.sees_only_its_own


def test_models_run_in_the_users_environment_and_write_nothing_there(ground: Ground) -> None:
    ground.write(Launch("3.13", ground.environment("the user's"), ground.root / "lib313"))
    started = ground.start(ground.version_folder(), libraries="/others")
    assert (started.python, started.prefix) == ("3.13", f"{ground.root}/the user's/bin")
    assert (started.libraries, started.keeps_files) == (f"{ground.root}/lib313:/others", True)
    assert started.sees_only_its_own


def test_a_front_has_its_own_and_graphs_run_in_the_usual_one(ground: Ground) -> None:
    ground.write(Launch("3.13", ground.environment("users"), None))
    front = ground.start(ground.version_folder(wake_key="x"))
    assert (front.python, front.libraries, front.keeps_files) == ("3.12", f"{ground.root}/lib312", False)
    (ground.backends / "onnxruntime").mkdir()
    assert ground.start(ground.backends / "onnxruntime").python == "3.11"
    (front_folder := ground.root / "repo" / "m_direct" / "1" / "wake_key").unlink()
    (front_folder.parent / "environment").write_text("schwift\n")
    graph = ground.start(front_folder.parent)
    assert (graph.python, graph.environment, graph.keeps_files) == ("3.11", "schwift", False)


def test_a_model_with_an_environment_runs_there(ground: Ground) -> None:
    ground.write()
    ground.keep("0a1b", Launch("3.13", ground.environment("made"), None))
    started = ground.start(ground.version_folder(environment="0a1b\nnumpy==2.4\n"), libraries="/others")
    assert (started.python, started.prefix, started.environment) == ("3.13", f"{ground.root}/made/bin", "0a1b")
    assert (started.libraries, started.keeps_files, started.sees_only_its_own) == ("/others", False, True)


@pytest.mark.parametrize("fault", ["not there", "no python", "no stub", "stub cannot start"])
def test_a_missing_environment_is_told_to_the_usual_stub(ground: Ground, fault: str) -> None:
    if fault == "no stub":
        del ground.stubs["3.13"]
    elif fault == "stub cannot start":
        ground.stubs["3.13"].write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    ground.write()
    prefix = ground.root / "gone" if fault == "no python" else ground.environment("made")
    if fault != "not there":
        ground.keep("0a1b", Launch("3.13", prefix, None))
    started = ground.start(ground.version_folder(environment="0a1b\n"))
    assert (started.python, started.prefix, started.environment) == ("3.11", f"{ground.root}/usual/bin", "missing")


@pytest.mark.parametrize("key", ["../outside", "0a1b/../../outside", "0A1B", ""])
def test_a_key_that_is_none_leads_nowhere(ground: Ground, key: str) -> None:
    ground.write()
    (ground.root / "outside").mkdir()
    (ground.root / "outside" / "launch").write_text(Launch("3.13", ground.environment("made"), None).to_text())
    ground.keep("0a1b", Launch("3.13", ground.root / "made", None))
    assert ground.start(ground.version_folder(environment=f"{key}\n")).environment == "missing"
