"""The file with the key of Triton's control."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from converter.errors import ConfigError
from converter.schema import triton_key


def test_a_new_key_is_random_kept_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    before = os.umask(0)
    try:
        key = triton_key.ensure(path)
    finally:
        os.umask(before)
    assert len(key) == 64 and key != triton_key.ensure(tmp_path / "other")
    assert triton_key.ensure(path) == triton_key.read(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_of_many_that_make_a_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    made: list[str] = []
    together = threading.Barrier(8)

    def make() -> None:
        together.wait()
        made.append(triton_key.ensure(tmp_path / "key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and set(made) == {triton_key.read(tmp_path / "key")}


@pytest.mark.parametrize("content", [b"", b"short\n", b"a key with blanks in it\n", b"=" * 64, b"\xff" * 64])
def test_what_is_no_key_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^SCHWIFT_TRITON_KEY_FILE: .*key"):
        triton_key.ensure(tmp_path / "key")
    assert triton_key.grpc_metadata(tmp_path / "key") == ()


def test_no_file_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file"):
        triton_key.read(tmp_path / "key")
    assert triton_key.grpc_metadata(tmp_path / "key") == ()


def test_a_key_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^SCHWIFT_TRITON_KEY_FILE: .*cannot be written"):
        triton_key.ensure(tmp_path / "file" / "key")


def test_calls_carry_the_key_of_the_moment(tmp_path: Path) -> None:
    key = triton_key.ensure(tmp_path / "key")
    assert triton_key.grpc_metadata(tmp_path / "key") == (("triton-grpc-protocol-schwift-key", key),)
    (tmp_path / "key").write_text("another-key-of-16\n")
    assert triton_key.grpc_metadata(tmp_path / "key")[0][1] == "another-key-of-16"
