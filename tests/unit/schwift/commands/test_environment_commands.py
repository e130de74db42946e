"""`schwift env`: what a build will need is made before it, shown, and removed when no model uses it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.environments.interpreter import own_interpreter
from converter.inspect import model_environments
from converter.repository.lock import lock_repository
from converter.schema.settings import load_settings
from schwift.cli import main
from schwift.commands import environment_commands
from schwift.commands.environment_commands import prune_environments
from tests.support.models.repositories import build, contents, whole
from tests.support.models.sample_models import add_joblib, add_model, model_yaml, options_of
from tests.support.models.wheels import add_wheel, ask_folder

OWN = own_interpreter().version
CODE = b"import trees\n\n\nclass Model:\n    def predict(self, X):\n        return X\n"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that needs an environment, one that needs none, and a library that is not here."""
    wheels = ask_folder(tmp_path / "wheels", monkeypatch)
    add_wheel(wheels, "numpy", "2.1.0")
    add_wheel(wheels, "trees", "1.0")
    monkeypatch.setattr(model_environments, "find_pythons", lambda: {OWN: Path(sys.executable)})
    monkeypatch.setenv("SCHWIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCHWIFT_TRUST_IMPORTS", "not_here_01.*")
    monkeypatch.chdir(tmp_path)
    add_joblib(tmp_path / "models", "plain")
    add_model(tmp_path / "models", "lacking", model_yaml("joblib", name="lacking"), {"m.joblib": b"cnot_here_01\nC\n."})
    add_model(
        tmp_path / "models", "grove", model_yaml("python", name="grove", requirements=["trees"]), {"model.py": CODE}
    )
    return tmp_path / "models"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["env", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_environments_are_made_and_nothing_else_is_written(tmp_path: Path, models: Path) -> None:
    before = contents(models)
    result = run("build")
    (key,) = [path.name for path in (tmp_path / "cache" / "environments").iterdir() if len(path.name) == 32]
    assert result.stdout == f"grove: an environment of its own, {key} (Python {OWN})\n"
    assert result.stderr.startswith(f"grove: making an environment of Python {OWN} with trees\n")
    after = contents(models)
    assert "numpy==2.1.0\ntrees==1.0\n" in after.pop("grove/requirements.lock").decode()
    assert after == before
    assert not (tmp_path / "model_repository").exists()


def test_models_that_need_none_ask_no_index(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/no/such/folder")
    (models / "grove" / "model_config.yaml").unlink()
    assert run("build").stdout == "no model needs an environment of its own\n"


def test_a_build_takes_what_is_there_and_is_a_no_op_the_next_time(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("build")
    monkeypatch.setenv("PIP_FIND_LINKS", "/no/such/folder")
    (models / "lacking" / "model_config.yaml").unlink()
    options = options_of(cache=tmp_path / "cache")
    build(tmp_path, options=options)
    files = contents(tmp_path / "repo")
    (key,) = [path.name for path in (tmp_path / "cache" / "environments").iterdir() if len(path.name) == 32]
    assert files["grove_direct/1/environment"].decode() == f"{key}\nnumpy==2.1.0\ntrees==1.0\n"
    assert [name for name in files if name.endswith(("/environment", ".lock"))] == ["grove_direct/1/environment"]
    whole(tmp_path / "repo")
    assert not build(tmp_path, options=options).changes


def test_a_model_of_another_lock_is_another_version(tmp_path: Path, models: Path) -> None:
    (models / "lacking" / "model_config.yaml").unlink()
    options = options_of(cache=tmp_path / "cache")
    build(tmp_path, options=options)
    config = model_yaml("python", name="grove", requirements=["trees", "numpy>=2"])
    (models / "grove" / "model_config.yaml").write_text(config)
    build(tmp_path, options=options)
    manifest = whole(tmp_path / "repo")
    assert {entry.name: entry.version for entry in manifest.models} == {"grove": 2, "plain": 1}


def test_checking_a_build_writes_no_lock(tmp_path: Path, models: Path) -> None:
    (models / "lacking" / "model_config.yaml").unlink()
    assert build(tmp_path, check=True, options=options_of(cache=tmp_path / "cache")).changes
    assert not (models / "grove" / "requirements.lock").exists()


def test_the_list_says_who_uses_what(tmp_path: Path, models: Path) -> None:
    assert run("list").stdout == f"no environments in {tmp_path / 'cache' / 'environments'}\n"
    (models / "lacking" / "model_config.yaml").unlink()
    run("build")
    (row,) = run("list").stdout.splitlines()[1:]
    assert row.split()[1::2] == [OWN, "MiB", "trees"]
    build(tmp_path, options=options_of(cache=tmp_path / "cache"))
    (row,) = run("list", "--repository", "repo").stdout.splitlines()[1:]
    assert row.split()[4:] == ["grove", "trees"]


def test_pruning_keeps_what_repositories_use(tmp_path: Path, models: Path) -> None:
    (models / "lacking" / "model_config.yaml").unlink()
    build(tmp_path, options=options_of(cache=tmp_path / "cache"))
    assert run("prune", "--repository", "repo").stdout == "removed 0, 0 MiB\n"
    (tmp_path / "other").mkdir()
    assert run("prune", "--repository", "other", "--repository", "repo").stdout == "removed 0, 0 MiB\n"
    lines = run("prune", "--repository", "other").stdout.splitlines()
    assert [line.partition(":")[2] for line in lines] == [f" Python {OWN} with trees, 0 MiB", ""]
    assert lines[1] == "removed 1, 0 MiB"


def test_pruning_waits_for_a_build_and_keeps_what_it_made(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "lacking" / "model_config.yaml").unlink()
    build(tmp_path, options=options_of(cache=tmp_path / "cache"))
    used = next((tmp_path / "repo" / "grove_direct").glob("*/environment"))
    settings, waits, removed = load_settings(None, cache=tmp_path / "cache"), threading.Event(), list[str]()
    monkeypatch.setattr(environment_commands, "print_progress", lambda text: waits.set())
    pruning = threading.Thread(target=lambda: removed.append(prune_environments(settings, [tmp_path / "repo"])))
    with lock_repository(tmp_path / "repo"):
        # Until it is written.
        content = used.read_bytes()
        used.unlink()
        pruning.start()
        assert waits.wait(10)
        used.write_bytes(content)
    pruning.join(30)
    assert removed == ["removed 0, 0 MiB"]


def test_pruning_without_a_repository_removes_nothing(tmp_path: Path) -> None:
    run("build")
    result = run("prune")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path / 'model_repository'}: no such repository: name with ")
    assert len(run("list").stdout.splitlines()) == 2
