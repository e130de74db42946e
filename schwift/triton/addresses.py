"""Where a Triton listens, on ports or on Unix sockets in a folder of this user's, and which of its APIs are shut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converter.errors import ServeError
from converter.schema.triton_key import HEADER
from schwift.triton.sealed_start import KEY

# The kernel's own bound of a Unix socket's path.
_LONGEST = 107
# Triton joins its gRPC address and its port with a colon, whatever the address is, and counts it as bound to port 1.
_GRPC_PORT = 1
# Open are health, metadata, the models' configs and inference: what native clients need.
_SHUT = "model-repository,shared-memory,trace,logging,statistics"


@dataclass(frozen=True)
class Addresses:
    """The three addresses as Triton's clients write them, and as its own `options` do; `files` are the sockets."""

    http: str
    grpc: str
    metrics: str
    options: tuple[str, ...]
    files: tuple[Path, ...] = ()


def ports(host: str, http: int, grpc: int, metrics: int) -> Addresses:
    """Address a Triton that listens on three ports of one host."""
    return Addresses(
        f"{host}:{http}",
        f"{host}:{grpc}",
        f"http://{host}:{metrics}/metrics",
        (
            f"--http-address={host}",
            f"--http-port={http}",
            f"--grpc-address={host}",
            f"--grpc-port={grpc}",
            f"--metrics-address={host}",
            f"--metrics-port={metrics}",
        ),
    )


def sockets(folder: Path) -> Addresses:
    """Address a Triton that listens on sockets in a folder. Raises ServeError if their paths are too long."""
    http, grpc, metrics = (folder / f"{name}.sock" for name in ("http", "grpc", "metrics"))
    grpc_file = grpc.with_name(f"{grpc.name}:{_GRPC_PORT}")
    files = (http, grpc_file, metrics)
    for path in files:
        if len(bytes(path)) > _LONGEST:
            raise ServeError(
                f"{path}: longer than the {_LONGEST} bytes that a Unix socket's path may have: set TMPDIR to another "
                "folder, or SCHWIFT_TRITON_PORTS to on"
            )
    return Addresses(
        f"unix:{http}",
        f"unix:{grpc_file}",
        f"unix:{metrics}",
        (
            f"--http-address=unix:{http}",
            f"--grpc-address=unix:{grpc}",
            f"--grpc-port={_GRPC_PORT}",
            f"--metrics-address=unix:{metrics}",
        ),
        files,
    )


def restricted_apis() -> list[str]:
    """Return the options that shut APIs; in the place of the key that opens them stands `sealed_start.KEY`."""
    return [f"--{option}={_SHUT}:{HEADER}={KEY}" for option in ("http-restricted-api", "grpc-restricted-protocol")]
