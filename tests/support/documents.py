"""The README and docs/ as tests read them: sections, code blocks, tables and console lines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or a higher one.

    Raises: ValueError if there is no such heading.
    """
    level = len(heading) - len(heading.lstrip("#"))
    lines = text.splitlines()
    start = lines.index(heading) + 1
    for number, line in enumerate(lines[start:], start):
        if re.match(rf"#{{1,{level}}} ", line):
            return "\n".join(lines[start:number])
    return "\n".join(lines[start:])


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, in order, without their indentation in a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def rows(text: str) -> list[list[str]]:
    """The cells of each table row that begins with code or a number."""
    lines = re.findall(r"^\| ([`\d].*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def commands(text: str) -> list[tuple[str, str]]:
    """Each `$ …` line of the console blocks, with the line below it that is its answer, or ''."""
    found: list[tuple[str, str]] = []
    for block in blocks(text, "console"):
        lines = block.splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("$ "):
                found.append((line[2:], "" if following.startswith("$ ") else following))
    return found


def snippets(text: str) -> list[tuple[str, str]]:
    """Each block of Python that a block of text follows: what it prints."""
    return re.findall(r"```python\n((?:(?!```).)*?)```\n\n```text\n(.*?)```", text, re.DOTALL)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
