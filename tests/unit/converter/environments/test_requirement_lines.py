"""A file of requirements: what is taken, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.environments.requirement_lines import read_requirements
from converter.errors import ConfigError


def read(folder: Path, text: str | bytes) -> tuple[str, ...]:
    path = folder / "needs.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_requirements(path, "m/needs.txt")


def test_names_versions_extras_and_markers_are_taken(tmp_path: Path) -> None:
    text = """\
# what it was trained with
scikit-learn == 1.7.2   # the estimator

pandas[parquet]~=2.2
tomli; python_version < "3.11"
"""
    assert read(tmp_path, text) == (
        "scikit-learn==1.7.2", "pandas[parquet]~=2.2", 'tomli; python_version < "3.11"'
    )  # fmt: skip


def test_every_line_that_is_more_is_named(tmp_path: Path) -> None:
    text = "numpy\n-r other.txt\ngit+https://example.org/x\n\n./here\nnum py\n"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "m/needs.txt:2:", "m/needs.txt:3:", "m/needs.txt:5:", "m/needs.txt:6:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("# nothing\n", "no requirement in it: write one in each line, as in scikit-learn==1.7.2"),
        (b"\xff", "not UTF-8 at byte 0: save the file as UTF-8"),
        ("numpy\n" * 20_000, "120000 bytes: a file of requirements is at most 65536 bytes"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
    assert caught.value.problems == (f"m/needs.txt: {problem}",)
