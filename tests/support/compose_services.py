"""What docker-compose.yml and the Dockerfile say, as tests read it."""

from __future__ import annotations

import re
from typing import Any

from converter.schema.settings import Settings, env_name
from tests.images import compose
from tests.support.servers.server import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


OURS = ("logs", "environments", "builder", "triton", "adapter")


NAMES = {env_name(field): field for field in Settings.model_fields}


def settings_in(service: dict[str, Any], **dotenv: str) -> Settings:
    """What the program reads in that container, with nothing of this process's environment."""
    inside = compose.environment(service, dotenv)
    fields: dict[str, Any] = {alias_of(name): value for name, value in inside.items() if name in NAMES}
    return Settings(_env_file=None, **fields)


def alias_of(name: str) -> str:
    field = NAMES[name]
    return str(Settings.model_fields[field].validation_alias or field)


def stage(name: str) -> str:
    """One stage of the Dockerfile, with the line that it begins with."""
    stages = re.split(r"(?=^FROM )", DOCKERFILE, flags=re.MULTILINE)
    found = [text for text in stages if re.match(rf"FROM \S+ AS {name}\n", text)]
    assert len(found) == 1
    return found[0]
