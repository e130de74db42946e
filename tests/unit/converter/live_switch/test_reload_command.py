"""The client's steps of a reload, with what the server says to each: what is switched, and what goes back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.errors import NothingServed, ReloadError, RepositoryError
from converter.live_switch.reload_command import reload
from converter.schema.manifest import read_manifest
from tests.support.lifecycle.control_socket import ScriptedControl, refuse
from tests.support.models.repositories import build, whole
from tests.support.models.sample_models import add_joblib, add_model, model_yaml, options_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and their repository."""
    root = tmp_path_factory.mktemp("built")
    for name in ("a", "b"):
        add_joblib(root / "models", name)
    build(root)
    return root


@pytest.fixture
def repository(tmp_path: Path, built: Path) -> Path:
    """A copy of these, as if it had been built here."""
    shutil.copytree(built, tmp_path / "here", symlinks=True)
    return tmp_path / "here" / "repo"


@pytest.fixture
def control(repository: Path) -> Iterator[ScriptedControl]:
    with ScriptedControl(repository, {"a": 1, "b": 1}).listening() as one:
        yield one


def change(repository: Path, name: str) -> None:
    add_model(repository.with_name("models"), name, model_yaml(name=name), {"m.joblib": b"I1\n."})


def reloaded(repository: Path, *names: str) -> list[str]:
    """What the user is told."""
    said: list[str] = []
    options = options_of(repository=repository, model_directory=repository.with_name("models"))
    reload(options, names, said.append)
    return said


def served_versions(repository: Path) -> dict[str, int]:
    return {entry.name: entry.version for entry in read_manifest(repository).models}


def test_what_changed_is_tried_and_then_switched_to(repository: Path, control: ScriptedControl) -> None:
    change(repository, "a")
    before = os.readlink(repository)
    assert reloaded(repository) == ["now try", "now switch"]
    assert control.did == ["served", "try", "switch"]
    assert control.tried.models == ("a",)
    after = os.readlink(repository)
    # It is tried while the old one is served.
    assert control.seen == [before, before, after]
    assert control.tried.build == Path(after).name != Path(before).name
    assert served_versions(repository) == {"a": 2, "b": 1}
    whole(repository)


def test_both_go_back_if_the_switch_fails(repository: Path, control: ScriptedControl) -> None:
    change(repository, "a")
    before = os.readlink(repository)
    control.answers["switch"] = refuse("a: it does not answer")
    # What counts is why it failed, whatever becomes of the way back.
    control.answers["settle"] = refuse("gone")
    with pytest.raises(ReloadError, match="a: it does not answer"):
        reloaded(repository)
    assert control.did == ["served", "try", "switch", "settle"]
    # Switched back before the server looks again.
    assert control.seen[-1] == before == os.readlink(repository)
    assert served_versions(repository) == {"a": 1, "b": 1}
    whole(repository)


def test_server_that_has_all_is_left_alone(repository: Path, control: ScriptedControl) -> None:
    assert reloaded(repository) == []
    assert control.did == ["served"]


def test_server_that_is_behind_or_has_given_up_takes_the_build_that_is_there(
    repository: Path, control: ScriptedControl
) -> None:
    control.served, control.failed = {"b": 1}, ("b",)
    assert reloaded(repository) == ["now try", "now switch"]
    assert control.tried.models == ("a", "b")
    assert control.tried.build == Path(os.readlink(repository)).name
    whole(repository)


def test_of_those_that_were_given_up_the_named_are_tried_again(repository: Path, control: ScriptedControl) -> None:
    control.failed = ("a", "b")
    reloaded(repository, "b")
    assert control.tried.models == ("b",)


def test_copy_of_a_repository_is_refused_before_anything_is_built(repository: Path, control: ScriptedControl) -> None:
    folder = repository.resolve()
    repository.unlink()
    shutil.copytree(folder, repository)
    change(repository, "a")
    with pytest.raises(RepositoryError, match=r"repo is a copy of a repository, which cannot be switched"):
        reloaded(repository)
    assert (control.did, served_versions(repository)) == ([], {"a": 1, "b": 1})


def test_without_a_server_nothing_is_built(repository: Path) -> None:
    change(repository, "a")
    before = os.readlink(repository)
    with pytest.raises(NothingServed, match="nothing is served here"):
        reloaded(repository)
    assert os.readlink(repository) == before
