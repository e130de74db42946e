"""The lock that builds of one repository take in turn."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from converter.errors import RepositoryError
from converter.repository.lock import builds_path, lock_for_reading, lock_repository


class Clock:
    """Each look at it is a minute later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


def elsewhere(what: object, *arguments: object, **options: object) -> BaseException | None:
    """Enter a lock in another thread, and say what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with what(*arguments, **options):  # type: ignore[operator]
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return raised[0] if raised else None


@pytest.mark.parametrize("enter", [lock_repository, lock_for_reading])
def test_wait_has_an_end_and_a_word(tmp_path: Path, enter: object) -> None:
    said: list[str] = []
    with lock_repository(tmp_path / "repo"):
        error = elsewhere(enter, tmp_path / "repo", said.append, 100.0, Clock())
    assert said == [f"another build is at work (process {os.getpid()}): waiting"]
    assert isinstance(error, RepositoryError)
    assert str(error) == (
        f"{tmp_path}/.repo.builds: another build (process {os.getpid()}) is still at work after 100 s: "
        "try again when it has ended"
    )


def test_same_thread_locks_once_and_other_repositories_are_free(tmp_path: Path) -> None:
    with (
        lock_repository(tmp_path / "repo") as builds,
        lock_repository(tmp_path / "repo") as again,
        lock_for_reading(tmp_path / "repo"),
    ):
        assert builds == again == builds_path(tmp_path / "repo")
        assert elsewhere(lock_repository, tmp_path / "other", print, 0.0) is None
    assert elsewhere(lock_repository, tmp_path / "repo", print, 0.0) is None


def test_two_may_read_and_then_nobody_builds(tmp_path: Path) -> None:
    with lock_repository(tmp_path / "repo"):
        pass
    with lock_for_reading(tmp_path / "repo"):
        assert elsewhere(lock_for_reading, tmp_path / "repo", print, 0.0) is None
        assert isinstance(elsewhere(lock_repository, tmp_path / "repo", print, 0.0, Clock()), RepositoryError)


def test_reading_where_nothing_is_makes_nothing(tmp_path: Path) -> None:
    with lock_for_reading(tmp_path / "repo"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_tidy_lock_leaves_nothing_where_nothing_was_built(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock_repository(tmp_path / "repo", tidy=True):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_scratch_of_a_killed_build_is_removed(tmp_path: Path) -> None:
    scratch = builds_path(tmp_path / "repo") / "scratch"
    scratch.mkdir(parents=True)
    with lock_repository(tmp_path / "repo"):
        assert not scratch.exists()


def test_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    builds_path(tmp_path / "repo").mkdir()
    (builds_path(tmp_path / "repo") / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(RepositoryError, match="could not be written"), lock_repository(tmp_path / "repo"):
        pass
    assert not (tmp_path / "victim").exists()
