"""`schwift keys`, and the file that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from converter.errors import ConfigError
from converter.schema.keys_file import hash_key, read_keys
from schwift.cli import main


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCHWIFT_API_KEYS_FILE", "folder/keys.json")
    return tmp_path / "folder" / "keys.json"


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["keys", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_key_is_printed_once_and_kept_as_a_hash(file: Path) -> None:
    code, printed, said = run("add", "shop", "--predict", "a,b", "--expires", "90d", "--requests", "5", "--rows", "9")
    key = printed.strip()
    assert (code, len(key)) == (0, 51)
    assert "cannot be shown again" in said
    (found,) = read_keys(file)
    assert (found.name, found.sha256, found.predict) == ("shop", hash_key(key), ("a", "b"))
    assert (found.read, found.metrics, found.requests, found.rows) == (False, False, 5, 9)
    assert found.expires is not None and (found.expires - found.created).days == 90
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]
    assert key not in run("list")[1]


def test_keys_are_listed_and_revoked(file: Path) -> None:
    run("add", "all", "--predict", "all", "--read")
    run("add", "prometheus", "--metrics", "--expires", "2999-12-31")
    _, table, _ = run("list")
    assert [line.split("  ")[0].strip() for line in table.splitlines()] == ["name", "all", "prometheus"]
    assert "2999-12-31 00:00 UTC" in table and "never" in table
    assert run("revoke", "all")[0] == 0
    assert [key.name for key in read_keys(file)] == ["prometheus"]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("add", "shop"), "give it --predict all"),
        (("add", "taken", "--read"), "choose another name"),
        (("add", "a b", "--read"), "letters, digits"),
        (("add", "shop", "--read", "--expires", "soon"), "as 90d, or a date"),
        (("add", "shop", "--read", "--expires", "99999y"), "as 90d, or a date"),
        (("add", "shop", "--read", "--expires", "2001-01-01"), "choose a time to come"),
        (("revoke", "nobody"), "schwift keys list"),
        (("list", "--file", "nothing"), "schwift keys add NAME"),
    ],
)
def test_a_mistake_is_2_with_its_remedy_and_changes_nothing(
    file: Path, arguments: tuple[str, ...], remedy: str
) -> None:
    run("add", "taken", "--read")
    before = file.read_bytes()
    code, printed, said = run(*arguments)
    assert (code, printed) == (2, "")
    assert remedy in said
    assert file.read_bytes() == before


def test_without_a_file_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCHWIFT_API_KEYS_FILE", raising=False)
    code, _, said = run("add", "shop", "--read")
    assert code == 2
    assert "SCHWIFT_API_KEYS_FILE=./api_keys.json" in said


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"name": "a"}]}', '{"version": 2}', '{"more": 1}'])
def test_a_damaged_file_is_an_error_that_names_it_and_is_left(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"keys\.json: .*change the file with `schwift keys` alone"):
        read_keys(file)
    assert run("add", "shop", "--read")[0] == 2
    assert file.read_text(encoding="utf-8") == content


def test_what_others_may_write_to_is_refused(file: Path) -> None:
    run("add", "shop", "--read")
    file.chmod(0o606)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(file)


def test_many_at_once_are_all_there(file: Path) -> None:
    """Each in a process of its own."""
    command = [sys.executable, "-m", "schwift", "keys", "add", "--read", "--file", str(file)]
    adding = [subprocess.Popen([*command, f"k{i}"], stdout=subprocess.DEVNULL) for i in range(6)]
    assert [process.wait(60) for process in adding] == [0] * 6
    assert {key.name for key in read_keys(file)} == {f"k{i}" for i in range(6)}


def test_a_link_stays_one(file: Path) -> None:
    run("add", "shop", "--read")
    link = file.with_name("link")
    link.symlink_to(file)
    run("add", "other", "--read", "--file", str(link))
    assert os.path.islink(link)
    assert len(read_keys(file)) == 2
