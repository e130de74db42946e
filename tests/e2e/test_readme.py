"""The README's commands, as they stand there, and its tables against the code."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from converter.schema.model import ModelArgs, ModelFile, ModelSpec
from converter.schema.settings import Settings, env_name
from schwift.cli import main
from tests.e2e.server import ROOT, Served

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, str]]:
    """Each `$ curl …` line of the README, with the line below it that is its answer, or ''."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        lines = block.splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("$ "):
                found.append((line[2:], "" if following.startswith("$ ") else following))
    return found


def same(answer: Any, wanted: Any) -> bool:
    """Equal, floats to 1e-5, and `…` for what differs from run to run."""
    if wanted == "…":
        return bool(answer)
    if isinstance(wanted, dict):
        return set(answer) == set(wanted) and all(same(answer[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(answer) == len(wanted) and all(same(a, w) for a, w in zip(answer, wanted, strict=True))
    if isinstance(wanted, float):
        return bool(answer == pytest.approx(wanted, rel=1e-5))
    return bool(answer == wanted)


def test_the_readme_has_commands() -> None:
    assert len(commands()) == 8
    assert len([answer for _, answer in commands() if answer]) == 5


@pytest.mark.parametrize(("command", "answer"), commands())
def test_a_curl_line_answers_as_the_readme_says(server: Served, command: str, answer: str) -> None:
    here = command.replace("localhost:8005", urlsplit(server.url).netloc)
    assert here != command
    done = subprocess.run(["bash", "-c", f"{here} -sS"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if answer:
        assert same(json.loads(done.stdout), json.loads(answer)), done.stdout
    elif "metrics" in command:
        assert "inference_requests_total" in done.stdout and "nv_inference_count" in done.stdout
    else:
        assert "iris_logreg" in done.stdout


def test_the_readme_has_every_setting_with_its_default() -> None:
    section = README.split("## Settings")[1].split("## Commands")[0]
    rows = {}
    for line in re.findall(r"^\| (`.*)\|$", section, re.MULTILINE):
        names, default, _ = (cell.strip() for cell in line.split(" | "))
        for name in re.findall(r"`(\w+)`", names):
            rows[name] = default
    assert set(rows) == {env_name(field) for field in Settings.model_fields}
    for name in ("PORT", "MAX_BATCH_SIZE", "SCHWIFT_MAX_BODY_BYTES", "SCHWIFT_HOST", "DEBUG_MODE", "LOG_DIRECTORY"):
        field = next(field for field in Settings.model_fields if env_name(field) == name)
        shown = str(Settings.model_fields[field].default)
        assert rows[name].removeprefix("./") == shown, name


def test_the_readme_has_every_key_of_a_config() -> None:
    section = README.split("## Your own model")[1].split("## Endpoints")[0]
    table = " ".join(line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `"))
    keys = set(ModelSpec.model_fields) - {"model_args"} | {
        field.alias or name for name, field in ModelArgs.model_fields.items() if name != "device"
    }
    assert {key for key in keys if not re.search(rf"\b{key}\b", table)} == set()


def test_the_readmes_config_is_a_config() -> None:
    block = re.search(r"```yaml\n(model:.*?)```", README, re.DOTALL)
    assert block
    assert ModelFile.model_validate(yaml.safe_load(block[1])).model.name == "RF_10"


def test_the_readme_names_every_option_of_build_repo() -> None:
    section = README.split("## Commands")[1]
    options = {option for parameter in main.commands["build-repo"].params for option in parameter.opts}
    assert {option for option in options if option not in section} == set()
    assert all(f"`schwift {name}" in section for name in main.commands)
