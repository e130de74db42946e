"""Clients of other languages and SDKs, each driven by a program of ours in `programs/`."""

from __future__ import annotations

from pathlib import Path

from tests.suites.outcomes import Outcome, read_lines
from tests.suites.target import Target
from tests.suites.workshop import PROGRAMS, Workshop, run

_LANGUAGE_PARTS = (
    "predict", "HEAD", "gzip both ways", "body of unknown length", "Expect 100-continue", "100 at once",
    "an error's body",
)  # fmt: skip
_NODE_PARTS = (
    *(f"fetch {part}" for part in _LANGUAGE_PARTS if not part.startswith("Expect")), "http 100 on 8 kept connections",
    "http answer in gzip",
)  # fmt: skip
_KSERVE_PARTS = (
    "v1 live", "v1 ready", "v1 infer", "v1 error", "v2 live", "v2 ready", "v2 infer json", "v2 infer raw",
    "v2 infer texts", "v2 error", "grpc live and ready", "grpc infer typed", "grpc infer raw", "grpc error",
)  # fmt: skip
_MLFLOW_PARTS = (
    "ping", "version", "invoke array", "invoke frame", "invoke table of names", "invoke columns", "invoke csv",
    "parameters are refused", "error names its code", "sagemaker",
)  # fmt: skip


def ask_with_kserve(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """InferenceRESTClient of V1 and V2, and InferenceGRPCClient."""
    python = workshop.environment("kserve", "kserve==0.21.0") / "python"
    done = run([python, PROGRAMS / "ask_kserve.py", target.url, target.grpc], check=False)
    return read_lines("kserve 0.21", _KSERVE_PARTS, done.stdout, done.returncode)


def ask_with_mlflow(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """MLflow's ScoringServerClient and the bodies that it writes."""
    packages = ("mlflow-skinny==3.17.2", "pandas", "scipy", "requests")
    python = workshop.environment("mlflow", *packages) / "python"
    done = run([python, PROGRAMS / "ask_mlflow.py", target.url], check=False)
    return read_lines("mlflow-skinny 3.17", _MLFLOW_PARTS, done.stdout, done.returncode)


def ask_with_java(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Ask with the JDK's HttpClient, which offers HTTP/2 by an upgrade."""
    # The package has both; `java` alone can't run a source.
    workshop.program("javac", "default-jdk-headless")
    done = run(["java", PROGRAMS / "Ask.java", target.url], check=False)
    return read_lines("JDK HttpClient", _LANGUAGE_PARTS, done.stdout, done.returncode)


def ask_with_go(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Ask with net/http."""
    go = workshop.program("go", "golang-go")
    folders = {"GOCACHE": str(workshop.cache / "go"), "GOFLAGS": "-mod=mod", "HOME": str(scratch)}
    done = run([go, "run", PROGRAMS / "ask.go", target.url], check=False, environment=folders)
    return read_lines("Go net/http", _LANGUAGE_PARTS, done.stdout, done.returncode)


def ask_with_node(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Ask with Node's fetch, and with its http."""
    node = workshop.program("node", "nodejs")
    done = run([node, PROGRAMS / "ask.mjs", target.url], check=False)
    return read_lines("Node fetch, http", _NODE_PARTS, done.stdout, done.returncode)
