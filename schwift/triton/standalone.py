"""`schwift triton`: Triton alone, in this process's place, for an adapter in another container."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from typing import NoReturn

from converter.schema import triton_key
from converter.schema.manifest import read_manifest
from converter.schema.settings import Settings
from schwift import log_rotation
from schwift.triton import addresses, sealed_start
from schwift.triton.embedded import Ports, bind, command_line, environment_for_triton, lay_out_backends, make_log_folder
from schwift.triton.installation import Installation, locate, say_on_stdout
from schwift.triton.launches import choose_launches

# A container is given 20 s to stop (docker-compose.yml), and the processes of many models end one after another.
EXIT_SECONDS = 15
# What Triton's clients expect; a setting of 0 means these, since nobody is there to print a free one.
_HTTP, _GRPC, _METRICS = 8000, 8001, 8002
# Its log is for whoever reads the folder of logs; what else is written is for this user alone (`sealed_start`).
_LOG_UMASK = 0o022


def run_triton(settings: Settings, host: str) -> NoReturn:
    """Become a tritonserver without models; its container supervises it. Raises SchwiftError if that cannot be."""
    found = locate(settings)
    launches = choose_launches(settings, found, say_on_stdout)
    caching = any(entry.spec.caching for entry in read_manifest(settings.repository).models)
    ports = standard_ports(settings)
    for name, port in (("HTTP", ports.http), ("GRPC", ports.grpc), ("METRICS", ports.metrics)):
        bind(host, port, f"SCHWIFT_TRITON_{name}_PORT").close()
    backends = Path(tempfile.mkdtemp(prefix="schwift-backends-"))
    command = standalone_command(found, settings, backends, host, ports, caching)
    lay_out_backends(found, backends, launches)
    key = triton_key.ensure(settings.triton_key_path)
    if settings.debug_mode:
        os.umask(_LOG_UMASK)
        # Before anything here has a thread.
        log_rotation.set_aside(triton_log(settings))
        triton_log(settings).touch()
        log_rotation.keep_cutting(triton_log(settings))
    sealed_start.start(command, environment_for_triton(), key)


def standard_ports(settings: Settings) -> Ports:
    """Return the ports that were asked for, and Triton's usual ones for the rest."""
    return Ports(
        settings.triton_http_port or _HTTP,
        settings.triton_grpc_port or _GRPC,
        settings.triton_metrics_port or _METRICS,
    )


def standalone_command(
    found: Installation, settings: Settings, backends: Path, host: str, ports: Ports, caching: bool
) -> list[str]:
    """Return the embedded Triton's command with its log on standard output, with DEBUG_MODE in LOG_DIRECTORY."""
    where = addresses.ports(host, ports.http, ports.grpc, ports.metrics)
    command = command_line(found, settings, backends, where, f"schwift-{uuid.uuid4().hex[:12]}-", caching)
    command.append(f"--exit-timeout-secs={EXIT_SECONDS}")
    if settings.debug_mode:
        make_log_folder(settings.log_directory)
        command.append(f"--log-file={triton_log(settings)}")
    return command


def triton_log(settings: Settings) -> Path:
    """Return where the log is, which Triton opens for appending."""
    return settings.log_directory / "triton.log"
