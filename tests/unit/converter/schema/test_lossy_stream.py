"""Output that cannot be written is lost, counted, and spoken of later; nobody fails for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from converter.schema.lossy_stream import LossyFile, open_text


def test_what_a_full_disk_cannot_take_is_counted_and_said_once_it_can() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lost: list[int] = []
    file = LossyFile(writer)
    file.on_lost = lost.append
    text = open_text(file)
    line = "x" * 9999 + "\n"
    for _ in range(20):
        text.write(line)
    got = os.read(reader, 1 << 20)
    whole, cut = divmod(len(got), len(line))
    assert 0 < whole < 20 and cut
    assert sum(lost) == 20 - whole
    text.write("again\n")
    text.write("and again\n")
    lines = (got + os.read(reader, 1 << 20)).decode().splitlines()
    # The one that was cut does not run into the next.
    said = f"{20 - whole} lines were lost here: nobody reads them"
    assert lines == [line.rstrip()] * whole + ["x" * cut, said, "again", "and again"]
    assert sum(lost) == 20 - whole
    text.close()
    os.close(reader)


@pytest.mark.parametrize("target", ["/dev/full", "closed pipe", "closed"])
def test_a_process_ends_well_whose_output_goes_nowhere(target: str) -> None:
    code = """
import sys
from converter.schema import lossy_stream
lossy_stream.take_over_standard_streams()
for number in range(3):
    print("line", number)
print("error", file=sys.stderr)
import click
click.echo("said")
click.echo("said", err=True)
lost = []
for file in lossy_stream.standard_files():
    file.on_lost = lost.append
print("more\\nand more")
sys.exit(len(lost) and sum(lost))
"""
    command = [sys.executable, "-c", code]
    if target == "closed":
        done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], check=False)
        # Nothing is lost: nobody wanted it.
        assert done.returncode == 0
    elif target == "/dev/full":
        with open(target, "wb") as full:
            assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 2
    else:
        reader, writer = os.pipe()
        os.close(reader)
        assert subprocess.run(command, stdout=writer, stderr=writer, check=False).returncode == 2
        os.close(writer)
