"""Mistakes on their way to a server: `schwift new`, `check`, `build-repo`, `serve` and a request."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import numpy as np

from tests.support.servers.server import Server, environment, serving
from tests.zoo.mistake import CONFIG, Draft, Mistake
from tests.zoo.right_models import right_model

Stage = Literal["new", "check", "build", "load", "request"]

# Nothing is downloaded for a file of another release; and a client sees what a model raised.
_SETTINGS = {"SCHWIFT_ENVIRONMENTS": "off", "SCHWIFT_ERROR_DETAIL": "full"}
_SECONDS = 300
# As many as the machines of CI have cores.
_AT_ONCE = 2


@dataclass
class Trial:
    """One mistake, its model's folder, and what became of it: `served` is right, wrong or refused."""

    mistake: Mistake
    folder: Path
    stage: Stage = "request"
    message: str = ""
    warnings: list[str] = field(default_factory=list)
    served: str = ""


def prepare(mistakes: Iterable[Mistake], root: Path) -> list[Trial]:
    """Make a right model for each, and the mistake in it."""
    trials = []
    for mistake in mistakes:
        name = re.sub(r"\W+", "_", mistake.name.lower())
        right = right_model(mistake.right)
        folder = Path(root, "models" if mistake.new is None else "given", name)
        folder.mkdir(parents=True)
        draft = Draft(folder, right)
        for file, content in right.files.items():
            draft.put(file, content)
        if mistake.new is None:
            draft.put(CONFIG, right.config.replace("NAME", name))
            if mistake.sample == "right":
                draft.sample(right.features, right.answers)
        mistake.change(draft)
        (root / "caught").mkdir(exist_ok=True)
        trials.append(Trial(mistake, folder))
    return trials


def _schwift(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "schwift", *arguments],
        cwd=folder, env=environment(folder, _SETTINGS), capture_output=True, text=True, timeout=_SECONDS,
    )  # fmt: skip


def make_new(trials: Sequence[Trial], root: Path) -> None:
    """Run `schwift new` for those that begin with it; a folder that it wrote goes to the others."""

    def run(trial: Trial) -> None:
        (trial.folder / "tmp").mkdir()
        done = _schwift(trial.folder, "new", *(trial.mistake.new or ()), "--models", "models")
        said = _read_lines(done.stderr)
        if done.returncode != 0:
            trial.stage, trial.message = "new", "; ".join(line for line in said if line.startswith("error: "))
            return
        trial.warnings += [line for line in said if line.startswith("note: ")]
        (written,) = (trial.folder / "models").glob("[!.]*")
        name = trial.folder.name
        config = (written / CONFIG).read_text()
        (written / CONFIG).write_text(config.replace(f"name: {written.name}", f"name: {name}"))
        trial.folder = Path(root, "models", name)
        shutil.move(written, trial.folder)

    (root / "models").mkdir(exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(run, [trial for trial in trials if trial.mistake.new is not None]))


def check(trials: Sequence[Trial], root: Path) -> None:
    """Run `schwift check` of all at once, which names the model of each finding."""
    done = _run_all(trials, root, "check", "--format", "json")
    for finding in json.loads(done.stdout)["findings"]:
        parts = [f"{finding['file']}:{finding['line']}", finding["key"], finding["message"], finding["remedy"]]
        said = ": ".join(part for part in parts if part)
        for trial in trials:
            if not _names(trial, said):
                continue
            if finding["severity"] == "error":
                _catch(trial, "check", said)
            else:
                trial.warnings.append(said)


def build(trials: Sequence[Trial], root: Path) -> None:
    """Build all at once."""
    done = _run_all(trials, root, "build-repo")
    for line in _read_lines(done.stderr + done.stdout):
        for trial in trials:
            if trial.stage == "request" and _names(trial, line):
                trial.warnings.append(line)


def _run_all(trials: Sequence[Trial], root: Path, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command for all models, again and again without those whose mistakes end it."""
    (root / "tmp").mkdir(exist_ok=True)
    stage: Stage = "check" if command == "check" else "build"
    while True:
        done = _schwift(root, command, "--models", str(root / "models"), *options)
        # A check that could be made has its findings there, whatever its exit code.
        if done.returncode == 0 or (stage == "check" and done.stdout):
            return done
        errors = [line for line in _read_lines(done.stderr) if line.startswith("error: ")]
        caught = [trial for trial in trials if trial.stage == "request" and any(_names(trial, line) for line in errors)]
        if not caught:
            raise AssertionError(f"an error names no model: {done.stderr}")
        for trial in caught:
            _catch(trial, stage, "; ".join(line for line in errors if _names(trial, line)))


def _names(trial: Trial, line: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(trial.folder.name)}(/|: )", line) is not None


def _catch(trial: Trial, stage: Stage, message: str) -> None:
    """Note where a mistake was caught, and take its folder away from the others'."""
    if trial.stage == "request":
        trial.stage, trial.message = stage, message
        shutil.move(trial.folder, trial.folder.parent.parent / "caught" / trial.folder.name)
    else:
        trial.message += f"; {message}"


def ask_server(trials: Sequence[Trial], root: Path) -> None:
    """Serve what is left, and compare what each answers to the right model's rows with the right model's answers."""
    left = [trial for trial in trials if trial.stage == "request"]
    if not left:
        return
    with serving(root / "models", root / "served", **_SETTINGS) as server:
        states = httpx.get(f"{server.url}/health", timeout=30).json()["models"]
        for trial in left:
            state = states.get(trial.folder.name)
            if state is None:
                # The build passed it over, and says so.
                trial.stage, trial.message = "build", "; ".join(trial.warnings)
            elif state["state"] != "ready":
                trial.stage, trial.message = "load", str(state.get("reason", state["state"]))
            else:
                trial.served, trial.message = _ask(server, trial)


def _ask(server: Server, trial: Trial) -> tuple[str, str]:
    right = right_model(trial.mistake.right)
    # By their names, if the model has any: an answer may be right under a wrong one.
    named = "classes:" in (trial.folder / CONFIG).read_text()
    options = {"params": {"labels": "true"}} if named else {}
    response = server.post("predict", trial.folder.name, right.features, **options)
    body = response.json()
    if response.status_code != 200:
        return "refused", f"{response.status_code} {body['detail']}"
    rows = body["predictions"]
    if named:
        rows = [[row.get(name) for name in right.classes] for row in rows]
    served, wanted = np.array(rows), np.array(right.answers)
    if served.shape != wanted.shape or (served.dtype.kind in "USO") != (wanted.dtype.kind in "USO"):
        return "wrong", f"{served[0].tolist()} for {wanted[0].tolist()}"
    # Beside how far answers are apart: seconds count, of a time too.
    spread = 0.0 if wanted.dtype.kind in "USO" else float(np.ptp(wanted))
    same = np.abs(served - wanted) <= 1e-4 * spread if spread else served == wanted
    if same.all():
        return "right", ""
    row = int(np.argmin(same.all(axis=1)))
    return "wrong", f"row {row}: {served[row].tolist()} for {wanted[row].tolist()}"


def _read_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
