"""docker-compose.yml as compose reads it: files merged, `${NAME:-default}` filled in from .env."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from tests.support.servers.server import ROOT

MAIN = ROOT / "docker-compose.yml"
NVIDIA = ROOT / "deploy" / "compose.nvidia.yml"
GRPC = ROOT / "deploy" / "compose.grpc.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Mount:
    """`source` is a path of the machine, or the name of a volume."""

    source: str
    target: str
    read_only: bool


def load(*files: Path, dotenv: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The services, by name; of two files the later one wins, mapping by mapping."""
    merged: dict[str, Any] = {}
    for file in files or (MAIN,):
        merged = _merged(merged, yaml.safe_load(interpolate(file.read_text(encoding="utf-8"), dotenv or {})))
    services: dict[str, Any] = merged["services"]
    return services


def interpolate(text: str, dotenv: Mapping[str, str]) -> str:
    """An empty value counts as none, as `:-` says."""
    return _VARIABLE.sub(lambda match: dotenv.get(match[1]) or match[2] or "", text)


def variables(text: str) -> dict[str, str]:
    """Every `${NAME:-default}`, with its default."""
    return {name: default for name, default in _VARIABLE.findall(text)}


def environment(service: Mapping[str, Any], dotenv: Mapping[str, str]) -> dict[str, str]:
    """What compose sets in the container: .env, the other files, then `environment`, which wins."""
    from_files: dict[str, str] = {}
    for file in service.get("env_file", ()):
        there = dotenv_values(ROOT / file["path"]) if file["path"] != ".env" else dotenv
        from_files |= {name: value or "" for name, value in there.items()}
    return {**from_files, **{name: str(value) for name, value in service.get("environment", {}).items()}}


def mounts(service: Mapping[str, Any]) -> list[Mount]:
    found: list[Mount] = []
    for volume in service.get("volumes", ()):
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            found.append(Mount(source, target, mode == ["ro"]))
        else:
            found.append(Mount(volume["source"], volume["target"], volume.get("read_only", False)))
    return found


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """New mappings: one that YAML's anchors share must not change in two places."""
    both = dict(one)
    for key, value in other.items():
        known = both.get(key)
        both[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return both
