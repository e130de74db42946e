"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz.guided decoder 30`.

Each target is a process of its own, since libFuzzer ends the one that it runs in. It runs for so many seconds and ends
with 0, or at the first input that does what must not be, which it prints.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.servers.server import ROOT

TARGETS = ("decoder", "pickles")
_SEEDS = {
    "decoder": [b'{"features": [[1.5, 2], [3, 4e0]]}', b'{"features": [["a", "b"]]}', b'{"features": [true, false]}',
                b'{"features": {"a": [[1]], "b": [["x"]]}}', b'{"features": [[1e999, "\\ud800"]]}'],
    "pickles": [b"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00]\x94.", b"cbuiltins\nlist\n(tR."],
}  # fmt: skip
_LONGEST_INPUT = 4096
_EXTRA_SECONDS = 120.0


def run(target: str, seconds: int) -> int:
    """Fuzz one target; how many inputs it got. AssertionError with the end of its output if it failed."""
    with tempfile.TemporaryDirectory(prefix="schwift-fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.guided", target, str(seconds), folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + _EXTRA_SECONDS)
        if done.returncode != 0:
            raise AssertionError(f"{target}: {(done.stdout + done.stderr)[-4000:]}")
        line = _executions(done.stderr)
        print(f"{target}: {line}", flush=True)
        return int(line.split()[1])


def _executions(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("Done ")]
    assert lines, output[-1000:]
    return lines[-1]


def _decoder() -> Callable[[bytes], None]:
    from tests.fuzz import codec

    def check(data: bytes) -> None:
        for one in codec.CODECS:
            codec.decode(one, data)

    return check


def _pickles() -> Callable[[bytes], None]:
    from converter.trust import pickle_reader

    path = Path(tempfile.mkdtemp(prefix="input-", dir=sys.argv[3]), "model.pkl")

    def check(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(pickle_reader.DamagedPickle):
            pickle_reader.read(path)

    return check


def _main(target: str, seconds: int, folder: Path) -> None:
    # Imported here: it is of no use to any other part, and has no wheel for Python 3.10.
    import atheris

    make = {"decoder": _decoder, "pickles": _pickles}[target]
    instrument: Any = atheris.instrument_imports(include=["adapter", "converter"])
    with instrument:
        check = make()
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(_SEEDS[target]):
        (corpus / str(i)).write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
