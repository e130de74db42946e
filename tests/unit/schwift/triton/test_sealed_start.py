"""What a program that is started sealed gets, and what others see of it: real processes, looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from schwift.triton import sealed_start
from schwift.triton.installation import Sealing, probe_sealing
from schwift.triton.sealed_start import KEY

# Says what it has, and lives until its input ends.
PROGRAM = """
import json, os, resource, sys
path = sys.argv[1]
with open(path, "w") as file:
    first = os.fstat(file.fileno()).st_mode & 0o777
    os.fchmod(file.fileno(), 0o644)
    then = os.fstat(file.fileno()).st_mode & 0o777
    os.fchmod(file.fileno(), 0o640)
    last = os.fstat(file.fileno()).st_mode & 0o777
print(json.dumps({
    "arguments": sys.argv[2:], "environment": dict(os.environ), "modes": [first, then, last],
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}), flush=True)
sys.stdin.read()
"""
# Takes the place of `ptrace` where it is forbidden, as in some containers.
FORBIDDEN = """
import sys
from schwift.triton import sealed_start
sealed_start._ptrace = lambda *_: False
sealed_start.main(sys.argv[1:])
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef-secret\n")
    return path


def started(key: Path, *arguments: str, launcher: tuple[str, ...] = (sealed_start.__file__,)) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, str(key), sys.executable, "-c", PROGRAM, str(key.with_name("file")), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LONG": "x" * 5000},
    )  # fmt: skip


def test_a_program_gets_the_key_and_its_command_line_does_not(key: Path) -> None:
    with started(key, f"--one=a:{KEY}", "--two", f"--three={KEY}") as process:
        assert process.stdin and process.stdout and process.stderr
        said = json.loads(process.stdout.readline())
        assert said["arguments"] == ["--one=a:0123456789abcdef-secret", "--two", "--three=0123456789abcdef-secret"]
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        assert shown[-4:] == [b"--one=sealed", b"--two", b"--three=sealed", b""]
        # What it starts inherits nothing of it.
        assert "secret" not in json.dumps(said["environment"]) and said["environment"]["LONG"] == "x" * 5000
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1\n" in status and "TracerPid:\t0\n" in status
        assert said["core"] == [0, 0]
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_files_are_its_own_users_whatever_mode_it_sets_as_triton_does(key: Path) -> None:
    with started(key) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["modes"] == [0o600, 0o600, 0o640]


def test_at_no_moment_is_the_key_on_the_command_line(key: Path) -> None:
    looks: set[bytes] = set()
    for _ in range(5):
        with started(key, f"--one={KEY}") as process:
            over = threading.Event()

            def look(pid: int = process.pid, over: threading.Event = over) -> None:
                while not over.is_set():
                    looks.add(Path(f"/proc/{pid}/cmdline").read_bytes())

            looker = threading.Thread(target=look)
            looker.start()
            assert process.stdout
            process.stdout.readline()
            over.set()
            looker.join()
    assert [text for text in looks if b"secret" in text] == []
    assert [text for text in looks if text.endswith(b"--one=sealed\0")] != []


def test_a_script_gets_the_key_as_a_program_does(key: Path) -> None:
    script = key.with_name("script")
    script.write_text("#!/bin/sh -u\nprintf '<%s>' \"$@\"\n")
    script.chmod(0o755)
    command = [sys.executable, sealed_start.__file__, str(key), str(script), f"--one={KEY}", "two"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("<--one=0123456789abcdef-secret><two>", "")


def test_where_no_process_may_trace_the_key_is_given_and_a_warning(key: Path) -> None:
    with started(key, f"--one={KEY}", launcher=("-c", FORBIDDEN)) as process:
        assert process.stdin and process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["arguments"] == ["--one=0123456789abcdef-secret"]
        process.stdin.close()
        said = process.stderr.read()
    assert said.startswith("warning: the key") and said.count("\n") == 1
    assert process.returncode == 0


def test_a_key_that_cannot_be_read_names_the_setting(tmp_path: Path) -> None:
    with started(tmp_path / "none") as process:
        assert process.stderr
        assert "SCHWIFT_TRITON_KEY_FILE" in process.stderr.read()
    assert process.returncode == 1


def test_the_probe_of_the_doctor_sees_what_these_tests_see() -> None:
    assert probe_sealing() == Sealing(key=True, memory=True)
