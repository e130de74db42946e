"""Where log lines go and what they look like, in processes of their own: logging is set up once in each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from adapter.telemetry import log_setup
from adapter.telemetry.access_log import Line
from converter.errors import ConfigError
from converter.schema.settings import load_settings

FORGED = "bad\n2026-01-01 00:00:00,000 INFO schwift.adapter: forged\r\x1b[2J\u2028"


def run(tmp_path: Path, code: str, **environment: str) -> str:
    """Standard error of a process that sets its logs up and runs `code`."""
    start = (
        "import logging, os\nfrom adapter.telemetry import log_setup as logs\n"
        "from adapter.telemetry.access_log import Line\n"
        "from converter.schema.settings import load_settings\nsettings = load_settings(None)\nlogs.set_up(settings)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        env={**os.environ, "LOG_DIRECTORY": str(tmp_path / "logs"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


SAY = """
logs.add_files(settings, 0, lambda lines: None)
log, requests = logging.getLogger("schwift.adapter"), logging.getLogger("schwift.requests")
log.info("said")
log.warning("warned of %s", 7)
requests.info(Line(status=200))
requests.warning(Line(status=404))
"""


def test_by_default_only_warnings_are_said_and_nothing_is_written(tmp_path: Path) -> None:
    (line,) = run(tmp_path, SAY).splitlines()
    assert line.endswith(" WARNING schwift.adapter: warned of 7")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(("wanted", "statuses"), [("all", [200, 404]), ("errors", [404]), ("off", [])])
def test_the_lines_of_requests_go_to_standard_error(tmp_path: Path, wanted: str, statuses: list[int]) -> None:
    said = run(tmp_path, SAY, SCHWIFT_ACCESS_LOG=wanted)
    assert [line for line in said.splitlines() if "schwift.requests: status=" in line] == [
        line for line in said.splitlines()[1:] if line.split("=")[1] in map(str, statuses)
    ]
    assert len(said.splitlines()) == 1 + len(statuses)


def test_with_debug_mode_all_goes_to_a_file_and_warnings_of_the_server_are_said_besides(tmp_path: Path) -> None:
    (line,) = run(tmp_path, SAY, DEBUG_MODE="True").splitlines()
    assert line.endswith("warned of 7")
    written = (tmp_path / "logs" / "schwift.log").read_text(encoding="utf-8").splitlines()
    ends = ["INFO schwift.adapter: said", "WARNING schwift.adapter: warned of 7",
            "INFO schwift.requests: status=200", "WARNING schwift.requests: status=404"]  # fmt: skip
    assert [line.split(" ", 2)[2] for line in written] == ends


def test_json_lines_have_their_fields_as_they_are(tmp_path: Path) -> None:
    code = SAY + (
        f"log.warning({FORGED!r} + chr(0xdc80))\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('no')\n"
    )
    said = run(tmp_path, code, SCHWIFT_LOG_FORMAT="json", SCHWIFT_ACCESS_LOG="all")
    warned, ok, refused, forged, failed = (json.loads(line) for line in said.splitlines())
    assert {**ok, "time": ""} == {"time": "", "level": "info", "logger": "schwift.requests", "status": 200}
    assert (refused["level"], refused["status"]) == ("warning", 404)
    assert (warned["message"], warned["logger"]) == ("warned of 7", "schwift.adapter")
    assert warned["time"][10] + warned["time"][-1] == "TZ"
    assert forged["message"] == FORGED + "\udc80"
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_in_text_nobody_begins_a_line_of_his_own() -> None:
    formatter = log_setup.TextLines()

    def formatted(message: str, *, raises: bool = False) -> list[str]:
        info = None
        if raises:
            try:
                raise ValueError(FORGED)
            except ValueError:
                info = sys.exc_info()
        record = logging.LogRecord("schwift.adapter", logging.WARNING, "", 0, message, None, info)
        return formatter.format(record).splitlines()

    (line,) = formatted(FORGED)
    assert line.endswith(r": bad\n2026-01-01 00:00:00,000 INFO schwift.adapter: forged\r\x1b[2J\u2028")
    first, *rest = formatted("x", raises=True)
    assert first.endswith("WARNING schwift.adapter: x")
    assert len(rest) >= 4 and all(line.startswith("  | ") for line in rest)


def test_rotation_in_several_workers_loses_no_line(tmp_path: Path) -> None:
    """Each forks, and writes into a file of its own until it has been rotated a few times."""
    count, workers = 3000, 3
    code = f"""
    logs._FILE_BYTES = 40_000
    logs._OLD_FILES = 50
    children = []
    for worker in range({workers}):
        child = os.fork()
        if child == 0:
            logs.add_files(settings, worker, lambda lines: None)
            for number in range({count}):
                logging.getLogger("schwift.requests").info(Line(worker=worker, number=number))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    """
    assert run(tmp_path, code, DEBUG_MODE="True", SCHWIFT_WORKERS=str(workers)) == ""
    files = sorted((tmp_path / "logs").iterdir())
    assert {path.name.split(".")[0] for path in files} == {f"schwift-worker{i}" for i in range(workers)}
    assert len(files) > 3 * workers
    assert all(path.stat().st_size <= 40_000 for path in files)
    ends = [line.split(": ")[1] for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted(ends) == sorted(f"worker={i} number={n}" for i in range(workers) for n in range(count))


def test_a_file_that_cannot_be_written_to_is_complained_of_once(tmp_path: Path) -> None:
    code = """
    logs.add_files(settings, 0, lambda lines: None)
    full = open("/dev/full", "w")
    (file,) = logging.getLogger("schwift.requests").handlers
    file.stream = full
    for _ in range(100):
        logging.getLogger("schwift.requests").info(Line(status=200))
    file.stream = None
    os._exit(0)
    """
    (line,) = run(tmp_path, code, DEBUG_MODE="True").splitlines()
    assert line.startswith("error: ") and line.endswith(
        "schwift.log cannot be written: [Errno 28] No space left on device"
    )


def test_a_folder_that_cannot_be_one_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file", encoding="utf-8")
    settings = load_settings(None, log_directory=tmp_path / "logs", debug_mode=True)
    with pytest.raises(ConfigError, match=r"LOG_DIRECTORY: .* cannot be written: .*: choose another"):
        log_setup.set_up(settings)


def test_each_worker_has_a_file_of_its_own_and_one_alone_the_known_one(tmp_path: Path) -> None:
    alone = load_settings(None, log_directory=tmp_path)
    several = load_settings(None, log_directory=tmp_path, workers=2)
    assert log_setup.log_file(alone, 0) == tmp_path / "schwift.log"
    assert [log_setup.log_file(several, i).name for i in (0, 1)] == ["schwift-worker0.log", "schwift-worker1.log"]


def test_text_of_a_line_of_fields() -> None:
    record = logging.LogRecord("schwift.requests", logging.INFO, "", 0, Line(status=200, ms=1.5), None, None)
    assert log_setup.TextLines().format(record).endswith(" INFO schwift.requests: status=200 ms=1.5")
