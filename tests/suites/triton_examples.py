"""The Python examples of Triton's client repository, as they stand there."""

from __future__ import annotations

from pathlib import Path

from tests.suites.outcomes import Outcome
from tests.suites.target import Target
from tests.suites.workshop import Workshop, run

_SUITE = "Triton's examples"
_REPOSITORY = "triton-inference-server/client"
# The head of the branch r26.04.
_COMMIT = "22e11c47da3c7db34932e5de3b5b3c5cf05369c4"
_GZIP = ("--request-compression-algorithm", "gzip", "--response-compression-algorithm", "gzip")
_DEFLATE = ("--request-compression-algorithm", "deflate", "--response-compression-algorithm", "deflate")
# Each may be run in several ways.
_HTTP: dict[str, tuple[tuple[str, ...], ...]] = {
    "simple_http_infer_client": ((), _GZIP, _DEFLATE),
    "simple_http_string_infer_client": ((),),
    "simple_http_async_infer_client": ((),),
    "simple_http_aio_infer_client": ((), _GZIP),
}
_GRPC = (
    "simple_grpc_infer_client", "simple_grpc_string_infer_client", "simple_grpc_async_infer_client",
    "simple_grpc_aio_infer_client", "simple_grpc_keepalive_client", "simple_grpc_custom_args_client",
    "grpc_explicit_int_content_client", "grpc_explicit_byte_content_client", "grpc_explicit_int8_content_client",
)  # fmt: skip
_NAME = "wants the server to be called triton, and this one is schwift; all else that it asks is in the other parts"
_LEFT_OUT = {
    "simple_http_health_metadata": _NAME,
    "simple_grpc_health_metadata": _NAME,
    "*_model_control": "models are loaded and unloaded by who runs the server, not by its clients",
    "*_shm_*, *_cudashm_*": "a client's memory is not mapped into the server: the values stand in the request",
    "*_sequence_*, *_custom_repeat": "sequences and models that answer in pieces are not served here",
    "*image_client": "wants image models of Triton's own with labels for `classification`, which is not served here",
    "grpc_client": "wants an image model of Triton's own",
    "reuse_infer_objects_client": "is about shared memory",
    "memory_growth_test": "measures Triton's own memory",
}


def run_triton_examples(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Run each that asks for what is served here; it ends with another code than 0 if an answer is wrong."""
    folder = workshop.checkout(_REPOSITORY, _COMMIT, "src/python/examples")
    python = workshop.environment("triton", "tritonclient[all]==2.60.0", "numpy") / "python"
    runs = [(name, options, target.address) for name, ways in _HTTP.items() for options in ways]
    runs += [(name, (), target.grpc) for name in _GRPC]
    outcomes = []
    for name, options, address in runs:
        done = run([python, folder / f"{name}.py", "-u", address, *options], check=False, cwd=scratch, seconds=60)
        part = f"{name}, {options[1]}" if options else name
        last = done.stdout.strip().rpartition("\n")[2]
        good = done.returncode == 0
        outcomes.append(Outcome(_SUITE, part, "passed") if good else Outcome(_SUITE, part, "FAILED", last))
    return outcomes + [Outcome(_SUITE, part, "left out", why) for part, why in _LEFT_OUT.items()]
