"""`schwift serve` in a process of its own, for tests: real sockets, a real Triton, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from converter.schema import triton_key

ROOT = Path(__file__).resolve().parents[3]
# A bound on hangs: the server of all models takes a minute where others have the cores.
READY_SECONDS = 240
_SHM = Path("/dev/shm")


@dataclass(kw_only=True)
class Served:
    """What can be asked, whoever started it."""

    url: str
    triton_http: str
    triton_grpc: str
    triton_metrics: str
    repository: Path

    def post(self, endpoint: str, model: str, features: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/{endpoint}/{model}", json={"features": features}, timeout=30, **options)


@dataclass(kw_only=True)
class Server(Served):
    """A server that we started. Ports are those that it printed."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def triton_key_file(self) -> Path:
        """Each serve has its own."""
        (path,) = self.log.parent.glob("tmp/schwift-serve-*/triton.key")
        return path

    @property
    def triton_key(self) -> str:
        """What its Triton's control is asked with."""
        return triton_key.read(self.triton_key_file)


def elsewhere() -> Served | None:
    """The server that SCHWIFT_E2E_URL names, for the tests that only ask: `make images` starts it from the images.

    Triton is where compose publishes it; SCHWIFT_E2E_REPOSITORY is the repository that is served.
    """
    url = os.environ.get("SCHWIFT_E2E_URL")
    if url is None:
        return None
    return Served(
        url=url,
        triton_http="127.0.0.1:8000",
        triton_grpc="127.0.0.1:8001",
        triton_metrics="127.0.0.1:8002",
        repository=Path(os.environ["SCHWIFT_E2E_REPOSITORY"]),
    )


def start(models: Path | None, folder: Path, *options: str, python: str = sys.executable, **settings: str) -> Server:
    """Start on free ports and wait for the line with the address, whether all models are ready or not."""
    process, log = launch(models, folder, *options, python=python, **settings)
    deadline = time.monotonic() + READY_SECONDS
    while "ready: " not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the server did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
        time.sleep(0.1)
    text = log.read_text(encoding="utf-8", errors="replace")
    marks(folder)
    triton = re.search(r"^Triton: http (\S+), grpc (\S+), metrics (\S+)$", text, re.MULTILINE)
    address = re.search(r"models at (https?://\S+)", text)
    assert triton and address, text
    return Server(
        process=process,
        url=address[1],
        triton_http=triton[1],
        triton_grpc=triton[2],
        triton_metrics=triton[3],
        log=log,
        repository=folder / "model_repository",
    )


def launch(
    models: Path | None, folder: Path, *options: str, python: str = sys.executable, **settings: str
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start it and do not wait. Everything it writes is below `folder`; without `models`, its settings say where.

    `python` is an interpreter that has another version of the project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    log = folder / "serve.log"
    given = [] if models is None else ["--models", str(models)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [python, "-m", "schwift", "serve", *given, "--port", "0", *options],
            cwd=folder,
            env=environment(folder, settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, log


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's, less any setting of its own but where Triton is."""
    kept = ("SCHWIFT_CACHE", "SCHWIFT_ENGINE")
    ours = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("SCHWIFT_")}
    # The last is for this pytest, and not for one that a test starts.
    for name in ("PORT", "MODEL_DIRECTORY", "MAX_REQUESTS", "DEBUG_MODE", "PREDICT_TIMEOUT_SECONDS", "PYTEST_ADDOPTS"):
        ours.pop(name, None)
    # Where no load balancer is, nobody needs the time to notice that a server ends.
    ours |= {"SCHWIFT_DRAIN_SECONDS": "0"}
    ours |= {"TMPDIR": str(folder / "tmp"), "SCHWIFT_REPOSITORY": str(folder / "model_repository")}
    return {**ours, **settings}


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM, seconds: float = 40) -> int:
    """Ask it to end, and say what it ended with."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@contextmanager
def serving(
    models: Path | None, folder: Path, *options: str, python: str = sys.executable, **settings: str
) -> Iterator[Server]:
    """A server for the length of a test; it must end with 0 and leave nothing."""
    server = start(models, folder, *options, python=python, **settings)
    try:
        yield server
    except BaseException:
        print(server.output)
        raise
    finally:
        code = stop(server.process)
    assert code == 0, server.output
    assert leftovers(folder) == []


def leftovers(folder: Path) -> list[str]:
    """Processes that were started below `folder`, their folders, and their shared memory: there must be none.

    A process is known by `folder` in its command line or environment, so other servers are not counted.
    """
    marker = os.fsencode(folder)
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            if marker in command or marker in (process / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found + [str(path) for path in folder.glob("tmp/*")] + shared_memory(folder)


def shared_memory(folder: Path) -> list[str]:
    """What is in /dev/shm of any Triton that was started below `folder`."""
    prefixes = tuple(f"{mark}-" for mark in marks(folder))
    return [path.name for path in _SHM.iterdir() if path.name.startswith(prefixes)]


def marks(folder: Path) -> set[str]:
    """What the servers below `folder` are known by. Noted here: one that ends takes its own note along."""
    known = folder / "marks"
    found = set(known.read_text(encoding="utf-8").split()) if known.exists() else set()
    for note in folder.glob("tmp/schwift-serve-*/serve.json"):
        found.add(json.loads(note.read_text(encoding="utf-8"))["mark"])
    known.write_text("\n".join(sorted(found)), encoding="utf-8")
    return found


def stop_on_sigterm() -> None:
    """For programs that start servers: SIGTERM ends them as Ctrl-C does, with all that they started."""

    def stop_here(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop_here)


def wait_for(what: Callable[[], object], seconds: float = 30, pause: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)
