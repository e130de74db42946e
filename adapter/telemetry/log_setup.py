"""Where log lines go, and in which form.

Warnings go to standard error, and with SCHWIFT_ACCESS_LOG a line for each request does. With DEBUG_MODE both go, with
all that is said besides, to files in LOG_DIRECTORY: one file for each worker, since two processes cannot rotate one
file without losing lines. A line is a line: what others wrote cannot begin a new one.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from adapter.telemetry import access_log
from converter.errors import ConfigError
from converter.schema import lossy_stream
from converter.schema.settings import Settings

_FILE_BYTES = 10 * 1024 * 1024
_OLD_FILES = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What a full disk answers.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ACCESS_LEVELS = {"off": logging.CRITICAL + 1, "errors": logging.WARNING, "all": logging.INFO}


def set_up(settings: Settings) -> None:
    """Send lines to standard error, once, before workers fork; raise ConfigError if a file cannot be written."""
    _try_files(settings)
    console = _handler(logging.StreamHandler(), settings)
    console.setLevel(logging.WARNING)
    for file in lossy_stream.standard_files():
        file.note = _note(settings)
    root = logging.getLogger()
    root.setLevel(logging.INFO if settings.debug_mode else logging.WARNING)
    root.addHandler(console)
    requests = logging.getLogger(access_log.LOGGER)
    requests.setLevel(_ACCESS_LEVELS[settings.access_lines])
    # Refused requests are warnings, but not the server's: they go where the lines of requests go.
    requests.propagate = False
    if not settings.debug_mode:
        requests.addHandler(_handler(logging.StreamHandler(), settings))


def add_files(settings: Settings, worker: int, on_lost: Callable[[int], None]) -> None:
    """Send lines to this worker's file too, with DEBUG_MODE.

    `on_lost` is called with how many lines this process cannot write, to a full disk or a closed pipe.
    """
    for stream in lossy_stream.standard_files():
        stream.on_lost = on_lost
    if settings.debug_mode:
        file = _File(log_file(settings, worker), _note(settings), on_lost)
        _handler(file, settings)
        for name in (None, access_log.LOGGER):
            logging.getLogger(name).addHandler(file)


def log_file(settings: Settings, worker: int) -> Path:
    """Return the file of a worker's lines; a single worker's has no number in its name."""
    name = "schwift.log" if settings.workers == 1 else f"schwift-worker{worker}.log"
    return settings.log_directory / name


def _try_files(settings: Settings) -> None:
    for worker in range(settings.workers if settings.debug_mode else 0):
        path = log_file(settings, worker)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            if error.errno not in _FULL:
                raise ConfigError(
                    f"LOG_DIRECTORY: {path} cannot be written: {error.strerror}: choose another"
                ) from error
            # Its lines are lost until there is room.
            print(f"warning: LOG_DIRECTORY: {path} cannot be written: {error.strerror}", file=sys.stderr)


def _note(settings: Settings) -> Callable[[int, str], str]:
    """Return what makes the line about lost lines, in the form of the others."""
    return _json_note if settings.log_format == "json" else lossy_stream.plain_note


def _json_note(lines: int, reason: str) -> str:
    return json.dumps({"level": "warning", "message": lossy_stream.plain_note(lines, reason), "lines_lost": lines})


def _handler(handler: logging.Handler, settings: Settings) -> logging.Handler:
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    return handler


class _File(logging.handlers.RotatingFileHandler):
    """Lose a line that cannot be written, say so once, and go on; `on_lost` is told how many lines each time."""

    _said = False

    def __init__(self, path: Path, note: Callable[[int, str], str], on_lost: Callable[[int], None]) -> None:
        self._note = note
        self.on_lost = on_lost
        # Opened with its first line: a full disk may have no room for it now.
        super().__init__(path, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8", delay=True)

    def _open(self) -> io.TextIOWrapper:
        file = lossy_stream.LossyFile(self.baseFilename, "a")
        file.note = self._note
        file.on_lost = lambda lines: self._lose(lines, file.reason)
        return lossy_stream.open_text(file)

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose a line because the file could not be opened, or not be rotated."""
        self._lose(1, str(sys.exc_info()[1]))

    def _lose(self, lines: int, reason: str) -> None:
        self.on_lost(lines)
        if not self._said:
            self._said = True
            print(f"error: {self.baseFilename} cannot be written: {reason}", file=sys.stderr)


class TextLines(logging.Formatter):
    """Write a line for people. A traceback follows its line, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line with control characters escaped, so that it stays one line."""
        return _CONTROL.sub(_escaped, super().formatMessage(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:
        """Return a traceback, indented and marked, with control characters escaped."""
        lines = super().formatException(ei).split("\n")
        return "\n".join("  | " + _CONTROL.sub(_escaped, line) for line in lines)


class JsonLines(logging.Formatter):
    """Write one JSON object a line, for machines; a line's fields stand in it as they are."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of a line: time in UTC, level, logger, its fields or message, and its traceback."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, Mapping):
            line |= record.msg
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()
