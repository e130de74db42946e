"""Which of Triton's APIs are shut, and how it is told."""

from __future__ import annotations

from converter.schema.triton_key import HEADER
from schwift.triton.sealed_start import KEY

# Open are health, metadata, the models' configs and inference: what native clients need.
APIS = ("model-repository", "shared-memory", "trace", "logging", "statistics")


def options() -> list[str]:
    """Return the options that shut them; in the place of the key stands `sealed_start.KEY`."""
    apis = ",".join(APIS)
    return [
        f"--http-restricted-api={apis}:{HEADER}={KEY}",
        f"--grpc-restricted-protocol={apis}:{HEADER}={KEY}",
    ]
