"""The way of each model of the zoo: `schwift new`, then one check, one build and one verify of all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.servers.server import environment
from tests.zoo.kinds.specimen import LISTED

# A new in each of two cores.
_SIDE_BY_SIDE = 2
_MOST_SECONDS = 1200
_ROWS = 32
_IMPORTS = re.compile(r"SCHWIFT_TRUST_IMPORTS=([\w.:,*]+)")
_FOLDERS = "SCHWIFT_TRUST_FOLDERS"
_NAMED_FOLDER = re.compile(rf"{_FOLDERS}=(\S+)")
# What a sentence that says what to do has.
_REMEDY = re.compile(
    r"\b(save|write|name|give|convert|train|install|export|set|put|let it in|use|run|wrap|remove|add|try)\b",
    re.IGNORECASE,
)


@dataclass
class Walk:
    """What became of one model; `said` is the message of the step that failed."""

    name: str
    kind: str
    served: bool
    arguments: list[str]
    steps: dict[str, str] = field(default_factory=dict)
    said: str = ""
    compared: int = 0
    differ: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return set(self.steps.values()) == {"ok"} and self.compared > 0 and not self.differ

    @property
    def has_remedy(self) -> bool:
        return bool(_REMEDY.search(self.said))

    def fail(self, step: str, said: str) -> None:
        self.steps[step] = "failed"
        self.said = said.strip()


class Zoo:
    """Takes every model that was made in `folder` from its file to proven answers."""

    def __init__(self, folder: Path, prefix: Path) -> None:
        self._folder = folder
        self._models = folder / "models"
        self._settings = {"SCHWIFT_MODEL_ENV": str(prefix), "MODEL_DIRECTORY": str(self._models)}
        self._imports: set[str] = set()
        listed = json.loads((folder / LISTED).read_text(encoding="utf-8"))
        self.walks = [Walk(**item) for item in listed]

    def go(self) -> None:
        self._models.mkdir()
        (self._folder / "tmp").mkdir()
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            list(pool.map(self._write, self.walks))
        if self._imports:
            self._settings["SCHWIFT_TRUST_IMPORTS"] = ",".join(sorted(self._imports))
        if any("trusted: true" in self._config(walk) for walk in self._left()):
            self._settings[_FOLDERS] = str(self._models)
        self._check()
        self._build()
        self._verify()

    def _left(self) -> list[Walk]:
        return [walk for walk in self.walks if set(walk.steps.values()) == {"ok"}]

    def _config(self, walk: Walk) -> str:
        return (self._models / walk.name / "model_config.yaml").read_text(encoding="utf-8")

    def _write(self, walk: Walk) -> None:
        """Write a model's folder; where the message names an operator's setting, once more with it."""
        began = time.monotonic()
        command = ["new", *walk.arguments, "--name", walk.name]
        done = self._run(*command)
        trusted: dict[str, str] = {}
        if done.returncode != 0 and (named := _IMPORTS.search(done.stderr)):
            trusted = {"SCHWIFT_TRUST_IMPORTS": named[1]}
        elif done.returncode != 0 and _FOLDERS in done.stderr:
            folder = _NAMED_FOLDER.search(done.stderr)
            trusted = {_FOLDERS: folder[1] if folder else str(self._models)}
        if trusted:
            done = self._run(*command, **trusted)
        walk.seconds = time.monotonic() - began
        walk.steps["new"] = "ok"
        if done.returncode != 0:
            walk.fail("new", done.stderr)
            return
        self._imports.update(filter(None, trusted.get("SCHWIFT_TRUST_IMPORTS", "").split(",")))
        if problem := self._find_poor_sample(walk, done.stderr):
            walk.fail("new", problem)

    def _find_poor_sample(self, walk: Walk, said: str) -> str:
        """Say what is wrong with a sample that proves little."""
        sample = json.loads((self._models / walk.name / "sample.json").read_text(encoding="utf-8"))
        answers = sample["predictions"]
        count = len(answers if isinstance(answers, list) else next(iter(answers.values())))
        if count < _ROWS:
            return f"the sample has {count} rows"
        return next((line for line in said.splitlines() if "all rows of the sample are of one class" in line), "")

    def _check(self) -> None:
        """Check all, if this version can."""
        if self._run("check", "--help").returncode != 0:
            return
        done = self._run("check", "--format", "json", *[walk.name for walk in self._left()])
        try:
            findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        except (ValueError, KeyError):
            findings = []
            for walk in self._left():
                walk.fail("check", done.stderr)
        # The file of a finding is models/<name>/model_config.yaml.
        bad = {Path(item["file"]).parent.name: item for item in findings if item["severity"] == "error"}
        for walk in self._left():
            walk.steps["check"] = "ok"
            if walk.name in bad:
                walk.fail("check", json.dumps(bad[walk.name]))

    def _build(self) -> None:
        """Build all together, and again without those that are named as bad."""
        while left := self._left():
            done = self._run("build-repo", *[part for walk in left for part in ("--model", walk.name)])
            if done.returncode == 0:
                break
            named = [walk for walk in left if re.search(rf"\b{re.escape(walk.name)}/", done.stderr)]
            for walk in named or left:
                lines = [line for line in done.stderr.splitlines() if f"{walk.name}/" in line]
                walk.fail("build", "\n".join(lines) or done.stderr)
        for walk in self._left():
            walk.steps["build"] = "ok"

    def _verify(self) -> None:
        """Compare what is served of all with their originals."""
        left = self._left()
        done = self._run("verify", "--format", "json", *[walk.name for walk in left])
        try:
            results = {item["name"]: item for item in json.loads(done.stdout)["models"]}
        except ValueError:
            results = {}
        for walk in left:
            result = results.get(walk.name)
            walk.steps["verify"] = "ok"
            if result is None:
                walk.fail("verify", done.stderr)
                continue
            walk.compared, walk.differ = result["requests"], result["rows_that_differ"]
            if result["result"] != "equal":
                walk.fail("verify", json.dumps([result["worst"], result["notes"]]))

    def _run(self, *arguments: str, **trusted: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "schwift", *arguments], cwd=self._folder, capture_output=True, text=True,
            env=environment(self._folder, {**self._settings, **trusted}), timeout=_MOST_SECONDS,
        )  # fmt: skip
