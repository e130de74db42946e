"""What reading pickles costs a build: `python -m tests.bench.scanning [FOLDER]` prints its share, of the examples."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from converter.trust.operator_trust import OperatorTrust
from converter.trust.own_modules import OwnModules
from converter.trust.pickle_reader import read
from converter.trust.verdict import judge
from tests.support.models.repositories import build
from tests.support.servers.server import ROOT

_ROUNDS = 5


def main(models: Path) -> None:
    """Build the models several times, and read their pickles as often."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        shutil.copytree(models, root / "models", ignore=shutil.ignore_patterns("__pycache__"))
        pickles = [path for path in (root / "models").rglob("*") if path.suffix in (".pkl", ".joblib", ".pickle")]
        whole = min(_time_build(root, round) for round in range(_ROUNDS))
        reading = min(_time_reading(pickles) for _ in range(_ROUNDS))
    share = f"{reading * 1000:.0f} ms of {whole * 1000:.0f} ms, {reading / whole:.1%} of a full build"
    print(f"{len(pickles)} pickles: {share}")


def _time_build(root: Path, number: int) -> float:
    start = time.perf_counter()
    build(root, output=f"repo{number}")
    return time.perf_counter() - start


def _time_reading(pickles: list[Path]) -> float:
    start = time.perf_counter()
    for path in pickles:
        judge(read(path), OperatorTrust(), OwnModules({}))
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models")
