"""The README and docs/ against the code: their tables, options, examples and links."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from adapter.error_codes import CODES
from converter.schema.model import ModelArgs, ModelFile, ModelSpec
from converter.schema.settings import Settings, env_name
from schwift.cli import main
from tests.support import documents
from tests.support.documents import PAGES, ROOT

README = documents.page("README.md")
CONFIGURATION = documents.page("docs/configuration.md")
HTTP_API = documents.page("docs/http-api.md")
CLI = documents.page("docs/cli.md")
# What the framework answers itself (adapter/http/error_handlers.py).
FRAMEWORKS_CODES = {(404, "not_found"), (405, "method_not_allowed")}


def settings_in(text: str) -> dict[str, str]:
    """The settings of tables, each with its default; a row of several has as many defaults, or one for all."""
    found: dict[str, str] = {}
    for row in documents.rows(text):
        names, defaults = re.findall(r"`(\w+)`", row[0]), row[1].split(", ")
        found |= dict(zip(names, defaults if len(defaults) == len(names) else [row[1]] * len(names), strict=True))
    return found


def keys_of_a_config() -> set[str]:
    arguments = {field.alias or name for name, field in ModelArgs.model_fields.items() if name != "device"}
    return set(ModelSpec.model_fields) - {"model_args"} | arguments


def leaves(command: click.Command, name: str = "schwift") -> list[tuple[str, click.Command]]:
    """The commands with their whole names, those of groups included."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [leaf for part, inner in command.commands.items() for leaf in leaves(inner, f"{name} {part}")]


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_every_setting_is_documented_with_its_default() -> None:
    rows = settings_in(documents.section(CONFIGURATION, "## Settings"))
    assert set(rows) == {env_name(field) for field in Settings.model_fields}
    defaults = {env_name(field): info.default for field, info in Settings.model_fields.items()}
    wrong = {name: default for name, default in defaults.items() if rows[name].removeprefix("./") != str(default)}
    # A setting that is unset by default has words in the table.
    assert [name for name, default in wrong.items() if default is not None] == []


def test_the_readmes_settings_have_the_same_defaults() -> None:
    short = settings_in(documents.section(README, "## Settings"))
    whole = settings_in(documents.section(CONFIGURATION, "## Settings"))
    assert short and short.items() <= whole.items()


def test_every_key_of_a_config_is_documented() -> None:
    rows = documents.rows(documents.section(CONFIGURATION, "## model_config.yaml"))
    table = " ".join(row[0] for row in rows)
    assert {key for key in keys_of_a_config() if not re.search(rf"\b{key}\b", table)} == set()


@pytest.mark.parametrize(
    ("page", "names"), [("README.md", ["flowers"]), ("docs/configuration.md", ["RF_10", "income", "fraud"])]
)
def test_the_configs_of_a_page_are_configs(page: str, names: list[str]) -> None:
    blocks = documents.blocks(documents.page(page), "yaml")
    assert [ModelFile.model_validate(yaml.safe_load(block)).model.name for block in blocks] == names


def test_every_status_and_code_is_documented() -> None:
    rows = documents.rows(documents.section(HTTP_API, "## Errors"))
    documented = {(int(row[0]), code) for row in rows for code in re.findall(r"`(\w+)`", row[1])}
    errors = {(status, code) for status, code in CODES if status not in (200, 499)}
    assert documented == errors | FRAMEWORKS_CODES
    assert "499 `client_left`" in HTTP_API


@pytest.mark.parametrize("name", [name for name, _ in leaves(main)])
def test_every_option_of_a_command_is_documented(name: str) -> None:
    command = dict(leaves(main))[name]
    named = name.split()[1]
    headings = [line for line in CLI.splitlines() if re.match(rf"## .*`schwift {named}`", line)]
    assert len(headings) == 1, f"docs/cli.md has no section of schwift {named}"
    text = documents.section(CLI, headings[0])
    assert f"`{name}" in text
    options = {
        option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts
    }
    assert {option for option in options if not re.search(rf"{option}\b", text)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = documents.prose(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in documents.anchors(linked.read_text(encoding="utf-8")), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A module that moved takes its name in the docs along."""
    text = documents.prose(page.read_text(encoding="utf-8"))
    named = re.findall(r"`((?:adapter|converter|schwift|triton_repo_template|tests|deploy)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", ["adapter", "converter"])
def test_every_room_is_in_the_architecture(package: str) -> None:
    text = documents.section(documents.page("docs/architecture.md"), "## The order of rooms")
    folders = [f"`{file.parent.name}/`" for file in (ROOT / package).glob("*/__init__.py")]
    modules = [f"`{file.stem}`" for file in (ROOT / package).glob("*.py") if file.stem != "__init__"]
    assert [room for room in folders + modules if room not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_modules_that_are_named_without_their_folder_are_there(page: Path) -> None:
    text = documents.prose(page.read_text(encoding="utf-8"))
    packages = ("adapter", "converter", "schwift", "triton_repo_template", "tests", "models")
    known = {file.name for package in packages for file in (ROOT / package).rglob("*.py")}
    assert sorted(set(re.findall(r"`(\w+\.py)`", text)) - known) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_sentence_begins_with_of(page: Path) -> None:
    text = documents.prose(page.read_text(encoding="utf-8"))
    assert re.findall(r"(?:^[-#>\s]*|\| |[.:!?]\s+)(Of [^.]{0,60})", text, re.MULTILINE) == []


def test_files_that_are_named_in_code_are_there() -> None:
    """A module that moved takes its name in comments, docstrings and configuration along."""
    folders = "adapter|converter|schwift|triton_repo_template|tests|deploy|docs"
    named = re.compile(rf"(?<![\w/.-])(?:{folders})/[\w/.-]*\.(?:py|md|yml|conf|j2|c|java|env|sh)\b")
    kinds = ("*.py", "*.yml", "*.conf", "*.sh", "*.env", "*.toml", "*.j2")
    top = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "pyproject.toml", ROOT / "docker-compose.yml"]
    files = [file for folder in folders.split("|") for kind in kinds for file in (ROOT / folder).rglob(kind)]
    gone = []
    for file in files + top:
        for line in file.read_text(encoding="utf-8").splitlines():
            # The paths of another project stand behind its name.
            if "triton-inference-server/" not in line:
                gone += [
                    f"{file.relative_to(ROOT)}: {name}" for name in named.findall(line) if not (ROOT / name).exists()
                ]
    assert gone == []
