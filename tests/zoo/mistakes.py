"""What becomes of mistakes that new users make: `python -m tests.zoo.mistakes`, or `make mistakes`.

Each begins with a right model and is made in its folder; some rows and their right answers are known. It is caught by
`schwift new`, `schwift check`, the build, or the load into Triton, or a request shows whether answers are right. The
exit code is 1 if a mistake that can be told is served wrong or refused at a request, or caught in words that name no
place or no remedy; or if what nobody can tell is not warned of though rows show it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from converter.table import format_table
from tests.zoo import config_mistakes, file_mistakes, new_mistakes, tensor_mistakes
from tests.zoo.stages import Trial, ask_server, build, check, make_new, prepare

MISTAKES = [
    *config_mistakes.MISTAKES, *tensor_mistakes.MISTAKES, *file_mistakes.MISTAKES, *new_mistakes.MISTAKES,
]  # fmt: skip
# A file and its line, a key, a file, or an option.
_PLACE = re.compile(
    r"\.(yaml|py):\d+|model\.[a-z_]+|model_args|columns|\w\.(yaml|json|joblib|onnx|pt|py|csv|ipynb)\b|models/\w+: "
    r"|--[a-z]+"
)
_MOST_SHOWN = 110


def judge(trial: Trial) -> str:
    """Say how it ended: `caught`, `warned`, `right`, `untold`, or in capitals what is wrong about it."""
    mistake = trial.mistake
    said = "\n".join([trial.message, *trial.warnings])
    warned = bool(mistake.says) and any(re.search(mistake.says, line) for line in trial.warnings)
    if not mistake.told:
        return "warned" if warned else "NOT WARNED" if mistake.says else "untold"
    if trial.stage == "request":
        if trial.served == "right":
            return "right"
        return "warned" if warned else f"SERVED {trial.served.upper()}" if trial.served else "NOT ASKED"
    if mistake.harmless:
        return "REFUSED"
    if not _PLACE.search(said):
        return "NO PLACE"
    return "caught" if re.search(mistake.says, said) else "NO REMEDY"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo.mistakes")
    parser.add_argument("words", nargs="*", help="make the mistakes alone that have one of these words in their names")
    parser.add_argument("--whole", action="store_true", help="print messages whole")
    given = parser.parse_args()
    began = time.monotonic()
    chosen = [item for item in MISTAKES if not given.words or any(word in item.name for word in given.words)]
    with tempfile.TemporaryDirectory(prefix="schwift-mistakes-", ignore_cleanup_errors=True) as made:
        trials = prepare(chosen, Path(made))
        for step in (make_new, check, build, ask_server):
            started = time.monotonic()
            step(trials, Path(made))
            print(f"{step.__name__}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(report(trials, given.whole))
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if any(judge(trial).isupper() for trial in trials) else 0


def report(trials: Sequence[Trial], whole: bool = False) -> str:
    """Write the table and its totals."""
    head = ["MISTAKE", "SAMPLE", "CAUGHT AT", "SERVED", "RESULT", "WHAT IS SAID"]
    rows = []
    for trial in trials:
        result = judge(trial)
        said = trial.message
        if result == "warned":
            said = next(line for line in trial.warnings if re.search(trial.mistake.says, line))
        at = trial.stage if trial.stage != "request" else "-"
        cells = [trial.mistake.name, trial.mistake.sample, at, trial.served or "-", result]
        rows.append([*cells, said if whole else said[:_MOST_SHOWN]])
    results = Counter(judge(trial) for trial in trials)
    stages = Counter(trial.stage for trial in trials if judge(trial) == "caught")
    lines = [
        format_table(head, rows),
        "",
        f"{len(trials)} mistakes, {sum(trial.mistake.sample != 'new' for trial in trials)} of them without a sample "
        "that `schwift new` made of the mistaken file",
        "by result: " + ", ".join(f"{count} {result}" for result, count in results.most_common()),
        "caught at: " + ", ".join(f"{count} {stage}" for stage, count in stages.most_common()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
