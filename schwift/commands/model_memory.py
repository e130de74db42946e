"""What `schwift memory` prints: how much memory each model of a running server holds, and its process."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converter.errors import SchwiftError, ServeError
from converter.schema.settings import Settings
from converter.table import format_table

_HEAD = ("MODEL", "PACK", "STATE", "MB", "PROCESS MB")
_MIB = 2**20
_TIMEOUT_SECONDS = 10.0
_SAMPLE = re.compile(r'^schwift_(model|pack)_memory_bytes\{\w+="([^"]*)"\} (\S+)$', re.MULTILINE)


class NoServer(SchwiftError):
    """No schwift answers at an address."""


@dataclass(frozen=True)
class ModelMemory:
    """What a model holds in bytes, of which None is not known; `process_bytes` is all of the process that it is in.

    A model without a pack has its processes to itself, and both are the same.
    """

    name: str
    pack: str | None
    state: str
    model_bytes: int | None
    process_bytes: int | None


def show_memory(settings: Settings, url: str | None, key_file: Path | None, as_json: bool) -> str:
    """Ask the server at `url`, or at the settings' address. Raises NoServer, ServeError if it refuses."""
    key = None if key_file is None else key_file.read_text(encoding="utf-8").strip()
    found = ask_memory(url or server_address(settings), key)
    return format_json(found) if as_json else format_text(found)


def ask_memory(url: str, key: str | None = None) -> list[ModelMemory]:
    """Ask a server what its models hold. Raises NoServer, or ServeError if it refuses."""
    if not url.startswith(("http://", "https://")):
        raise NoServer(f"{url} is no address of a server: write http://HOST:PORT")
    try:
        shown = json.loads(_get(url, "/available_models", key))["models"]
        states = json.loads(_get(url, "/health", key, (503,)))["models"]
        metrics = _get(url, "/metrics", key)
        packs = {item["name"]: item.get("pack") for item in shown}
        return join(packs, {name: health["state"] for name, health in states.items()}, metrics)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise NoServer(f"no server answers at {url}: {reason}: start `schwift serve`, or name another URL") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoServer(f"what answers at {url} is no schwift serve") from error


def join(packs: Mapping[str, str | None], states: Mapping[str, str], metrics: str) -> list[ModelMemory]:
    """Join what a server says of its models' packs, of their states, and in its metrics."""
    sizes: dict[str, dict[str, int]] = {"model": {}, "pack": {}}
    for kind, label, value in _SAMPLE.findall(metrics):
        sizes[kind][label] = round(float(value))
    # A pack's own metric leaves its models out.
    processes = dict(sizes["pack"])
    for name, pack in packs.items():
        if pack in processes:
            processes[pack] += sizes["model"].get(name, 0)
    return [
        ModelMemory(
            name=name,
            pack=pack,
            state=states.get(name, "unknown"),
            model_bytes=sizes["model"].get(name),
            process_bytes=sizes["model"].get(name) if pack is None else processes.get(pack),
        )
        for name, pack in packs.items()
    ]


def total_bytes(models: Sequence[ModelMemory]) -> tuple[int, int]:
    """Add up what the models hold, and their processes, each of which counts once."""
    processes: dict[tuple[str, str], int] = {}
    for item in models:
        place = ("model", item.name) if item.pack is None else ("pack", item.pack)
        processes[place] = item.process_bytes or 0
    return sum(item.model_bytes or 0 for item in models), sum(processes.values())


def format_text(models: Sequence[ModelMemory]) -> str:
    """Format a line for each model, and the sums."""
    rows = [
        [item.name, item.pack or "-", item.state, _megabytes(item.model_bytes), _megabytes(item.process_bytes)]
        for item in models
    ]
    rows.append([f"{len(models)} in all", "", "", *map(_megabytes, total_bytes(models))])
    return format_table(_HEAD, rows)


def format_json(models: Sequence[ModelMemory]) -> str:
    """Format one object a model, and the sums, in bytes."""
    held, processes = total_bytes(models)
    whole: dict[str, Any] = {"models": [asdict(item) for item in models]}
    return json.dumps({**whole, "model_bytes": held, "process_bytes": processes}, indent=1, ensure_ascii=False)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / _MIB:.1f}"


def server_address(settings: Settings) -> str:
    """Return where `schwift serve` with these settings listens, for who is on the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _get(url: str, path: str, key: str | None, also: Sequence[int] = ()) -> str:
    """Return what a path answers, with a status of 200 or one of `also`. Raises ServeError for another one."""
    request = urllib.request.Request(url.rstrip("/") + path, headers={"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        if error.code in also:
            return said
        hint = ": name a file with a key of its own by --key-file" if error.code in (401, 403) else ""
        raise ServeError(f"{url}{path} answers {error.code}{hint}") from error
    except ssl.SSLError as error:
        raise NoServer(f"{url} has no certificate that is trusted here: {error}") from error
