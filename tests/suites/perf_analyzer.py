"""Triton's own load generator, which tritonclient's wheel of 2.40 was the last to hold."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.suites.outcomes import Outcome
from tests.suites.target import Target
from tests.suites.workshop import Workshop, run

_SUITE = "perf_analyzer 2.40"
# It is linked against CUDA's runtime, which it does not need for what it does here.
_PACKAGES = ("tritonclient==2.40.0", "nvidia-cuda-runtime-cu12")
_THROUGHPUT = re.compile(r"Throughput: ([\d.]+) infer/sec")
# Few requests, so that it takes seconds: what counts is that they are answered as it wants.
_BRIEF = ("--measurement-mode", "count_windows", "--measurement-request-count", "200", "-s", "999", "-r", "3")
_PARTS: dict[str, tuple[str, ...]] = {
    "http": ("-i", "http", "--concurrency-range", "1:4:3"),
    "http, async": ("-i", "http", "-a", "--concurrency-range", "8"),
    "http, at a rate": ("-i", "http", "--request-rate-range", "200"),
    "http, texts": ("-i", "http", "-m", "simple_string", "--string-data", "7"),
    "grpc": ("-i", "grpc", "--concurrency-range", "1:4:3"),
    "grpc, async": ("-i", "grpc", "-a", "--concurrency-range", "8"),
}
_LEFT_OUT = {
    "grpc, streaming": "ModelStreamInfer is for models that answer in pieces, which are not served here",
    "shared memory": "a client's memory is not mapped into the server: the values stand in the request",
}


def measure_with_perf_analyzer(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Let it measure over HTTP and gRPC; each part has to end well and to count requests."""
    programs = workshop.environment("perf_analyzer", *_PACKAGES)
    libraries = [str(path) for path in programs.parent.glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib")]
    if not any(Path("/usr/lib").glob("*/libb64.so.0d")):
        workshop.debian("libb64-0d")
    program = programs / "perf_analyzer"
    program.chmod(0o755)
    searched = {"LD_LIBRARY_PATH": os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")])}
    outcomes = []
    for part, options in _PARTS.items():
        address = target.grpc if "grpc" in options else target.address
        model = [] if "-m" in options else ["-m", "simple"]
        done = run([program, "-u", address, *model, *options, *_BRIEF], False, cwd=scratch, environment=searched)
        rates = [float(rate) for rate in _THROUGHPUT.findall(done.stdout)]
        good = done.returncode == 0 and rates and min(rates) > 0
        why = f"ended with {done.returncode}: {done.stdout.strip()[-300:]}"
        outcomes.append(Outcome(_SUITE, part, "passed") if good else Outcome(_SUITE, part, "FAILED", why))
    return outcomes + [Outcome(_SUITE, part, "left out", why) for part, why in _LEFT_OUT.items()]
