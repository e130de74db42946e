"""The lock beside a model holds for the requirements and the Python that it was made of, and no others."""

from __future__ import annotations

from pathlib import Path

from converter.environments.lock_file import hash_lock, hash_request, read_lock, write_lock

LOCK = ("numpy==1.26.4", "trees==1.0")


def test_a_lock_is_read_for_its_own_request_alone(tmp_path: Path) -> None:
    request = hash_request(["trees"], "3.12")
    write_lock(tmp_path, request, LOCK)
    assert read_lock(tmp_path, request) == LOCK
    for other in (hash_request(["trees>1"], "3.12"), hash_request(["trees"], "3.13")):
        assert other != request
        assert read_lock(tmp_path, other) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.lock"]
    assert (tmp_path / "requirements.lock").read_text().startswith("# Written by schwift: the packages of this model's")


def test_a_lock_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    write_lock(tmp_path, "r", LOCK)
    file = tmp_path / "requirements.lock"
    before = file.stat()
    write_lock(tmp_path, "r", LOCK)
    assert file.stat() == before
    write_lock(tmp_path, "r", LOCK[:1])
    assert read_lock(tmp_path, "r") == LOCK[:1]


def test_a_folder_that_cannot_be_written_has_no_lock(tmp_path: Path) -> None:
    write_lock(tmp_path / "gone", "r", LOCK)
    assert read_lock(tmp_path / "gone", "r") == ()
    (tmp_path / "requirements.lock").write_bytes(b"\xff")
    assert read_lock(tmp_path, "r") == ()


def test_the_order_of_packages_is_no_difference() -> None:
    assert hash_lock(LOCK, "3.12") == hash_lock(LOCK[::-1], "3.12") != hash_lock(LOCK, "3.11")
