"""The embedded Triton: its backend directory, its command line, and its end without leftovers."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from converter.errors import PortInUse, ServeError
from converter.repository.runtime_files import RUNTIME_PACKAGE, TEMPLATE_ROOT
from converter.schema import triton_key
from converter.schema.settings import Settings
from converter.schema.wire import NOTES_VARIABLE, EndProcess, KillModel, KillOrder
from schwift import log_rotation, process_tree, shared_memory
from schwift.process_group import ProcessGroup
from schwift.triton import addresses, sealed_start
from schwift.triton.addresses import Addresses
from schwift.triton.installation import Installation
from schwift.triton.launcher import STUB, Launches, write_launcher
from schwift.work_folder import WorkFolder

HOST = "127.0.0.1"
EXIT_SECONDS = 10
_BACKLOG = 2048
# Threads of Triton for the calls that one instance of a Python model makes of others. A front has one call under way,
# 4 that are stuck and 4 wake-ups at most (triton_repo_template/runtime). By default it is 32, and with 40 models Triton
# has 2,900 threads, among which newer kernels look for the one to wake as in a list.
_CALL_THREADS = 10
# Free ports are looked for from this one on, so often.
_LEAST_PORT, _TRIES = 20_000, 20
# The first of the ports that the system gives out for connections: where it says so, and what it usually is.
_PORT_RANGE, _USUAL_FIRST = Path("/proc/sys/net/ipv4/ip_local_port_range"), 32_768
# One in so many calls that belong to no trace has one of its own.
_TRACE_RATE = 1000


@dataclass(frozen=True)
class Ports:
    """The three ports of a Triton."""

    http: int
    grpc: int
    metrics: int


def choose_addresses(settings: Settings, work: WorkFolder, held: contextlib.ExitStack) -> Addresses:
    """Choose ports of the loopback address, or sockets in the folder of this serve.

    `held` keeps the ports from others until it is closed, just before Triton starts. Raises PortInUse, ServeError.
    """
    if settings.triton_ports == "off":
        return addresses.sockets(work.path)
    ports = choose_ports(settings, held)
    return addresses.ports(HOST, ports.http, ports.grpc, ports.metrics)


def choose_ports(settings: Settings, held: contextlib.ExitStack) -> Ports:
    """Choose the ports that were asked for, free ones for the rest; `held` listens on them.

    Raises PortInUse if one is taken.
    """
    wanted = {
        "SCHWIFT_TRITON_HTTP_PORT": settings.triton_http_port,
        "SCHWIFT_TRITON_GRPC_PORT": settings.triton_grpc_port,
        "SCHWIFT_TRITON_METRICS_PORT": settings.triton_metrics_port,
    }
    return Ports(
        *(
            held.enter_context(bind(HOST, port, name) if port else _bind_free(name)).getsockname()[1]
            for name, port in wanted.items()
        )
    )


def _bind_free(what: str) -> socket.socket:
    """Listen on a port that nobody has.

    Triton binds the port a moment after it is let go. One below those that the system gives out for connections is not
    taken meanwhile by any client on this machine.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(PortInUse):
            return bind(HOST, _LEAST_PORT + secrets.randbelow(_first_given_out() - _LEAST_PORT), what)
    return bind(HOST, 0, what)


def _first_given_out() -> int:
    try:
        return max(_LEAST_PORT + 1, int(_PORT_RANGE.read_text(encoding="ascii").split()[0]))
    except OSError:
        return _USUAL_FIRST


def bind(host: str, port: int, what: str) -> socket.socket:
    """Listen on a port. Raises PortInUse, which names the port and the setting.

    It listens at once: two sockets may be bound to one port for as long as neither does.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise PortInUse(f"port {port} on {host} cannot be used: {error.strerror}: choose another ({what})") from error
    return sock


class EmbeddedTriton:
    """A tritonserver with no model loaded, started as often as needed; the adapter loads the models over gRPC.

    `caching` gives it a response cache. Raises ServeError if the folder of its log cannot be made.
    """

    def __init__(
        self,
        found: Installation,
        settings: Settings,
        where: Addresses,
        work: WorkFolder,
        launches: Launches,
        caching: bool,
    ) -> None:
        # A key for each serve, unless somebody else is to know it.
        self.key_file = settings.triton_key_file or work.path / "triton.key"
        self._key = triton_key.ensure(self.key_file)
        self.where = where
        self._mark = f"{work.mark}/triton"
        # Known to us alone, so that what a killed Triton leaves in shared memory is ours to remove.
        self._shm_prefix = f"{work.mark}-"
        backends = work.path / "backends"
        lay_out_backends(found, backends, launches)
        log_folder = settings.log_directory if settings.debug_mode else work.path
        make_log_folder(log_folder)
        command = command_line(found, settings, backends, where, self._shm_prefix, caching)
        self._command = [sys.executable, "-I", sealed_start.__file__, str(self.key_file), *command]
        self._command.append(f"--exit-timeout-secs={EXIT_SECONDS}")
        # Where hosts note which model they are in, for the adapter.
        self.notes = work.path / "notes"
        self.notes.mkdir(exist_ok=True)
        variables = {**environment_for_triton(), NOTES_VARIABLE: str(self.notes)}
        self._environment = process_tree.marked(variables, self._mark)
        self._log = log_folder / "triton.log"
        self._sweep = shared_memory.Sweep(self._shm_prefix, self._mark)
        self._cut_due = 0.0

    def start(self) -> ProcessGroup:
        """Begin a life of it, on the same addresses each time."""
        log_rotation.set_aside(self._log)
        # Left by one that was killed.
        for path in self.where.files:
            path.unlink(missing_ok=True)
        return ProcessGroup("Triton", self._command, self._environment, self._log)

    def tend(self) -> None:
        """Give back shared memory that Triton forgets, and keep its log from filling the disk; called every moment."""
        self._sweep.tick()
        if time.monotonic() >= self._cut_due:
            self._cut_due = time.monotonic() + log_rotation.PERIOD_SECONDS
            with contextlib.suppress(OSError):
                log_rotation.cut(self._log)

    def clean(self) -> None:
        """Remove what it leaves at its end: stubs, wherever they are, and their shared memory."""
        process_tree.end(self._mark)
        shared_memory.clear(self._shm_prefix)

    def shows_its_key(self) -> bool:
        """Return whether the key stands on a command line of its tree, which every user can look at."""
        return any(self._key in word for word in process_tree.words(self._mark))

    def kill_stubs(self, order: KillOrder) -> int:
        """Kill the stubs that an order is about, and return how many there were."""
        found = process_tree.stubs(self._mark)
        pids = [pid for pid, model in found.items() if order in (EndProcess(pid), KillModel(model))]
        process_tree.kill(pids)
        return len(pids)


def make_log_folder(folder: Path) -> None:
    """Make the folder of Triton's log. Raises ServeError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServeError(f"LOG_DIRECTORY: {folder} cannot be made: {error.strerror}") from error


def trace_options(settings: Settings) -> list[str]:
    """Return the options for Triton's part of the traces: of calls whose trace the adapter began, and of no others."""
    if settings.otlp_endpoint is None:
        return []
    return [
        f"--trace-config={option}"
        for option in (
            "mode=opentelemetry",
            f"opentelemetry,url={settings.otlp_endpoint}/v1/traces",
            "opentelemetry,resource=service.name=schwiftserve-triton",
            "level=TIMESTAMPS",
            f"rate={_TRACE_RATE}",
        )
    ]


def command_line(
    found: Installation, settings: Settings, backends: Path, where: Addresses, shm_prefix: str, caching: bool
) -> list[str]:
    """Return the command of a tritonserver that starts with no model, for `sealed_start`, which knows the key."""
    command = [
        str(found.server),
        f"--model-repository={settings.repository}",
        f"--backend-directory={backends}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--backend-config=python,thread-pool-size={_CALL_THREADS}",
        *where.options,
        *addresses.restricted_apis(),
        f"--log-info={'true' if settings.debug_mode or settings.debug_model else 'false'}",
    ]
    if caching:
        command += [
            f"--cache-config=local,size={settings.cache_bytes}",
            f"--cache-directory={found.caches}",
        ]
    return command + trace_options(settings)


def lay_out_backends(found: Installation, target: Path, launches: Launches) -> None:
    """Make a backend directory: `python` of the engine, with the launcher for its stub, and `onnxruntime` in Python.

    The library is a copy, since Triton refuses one outside its backend directory.
    """
    python = target / "python"
    python.mkdir(parents=True)
    for path in found.python_backend.iterdir():
        if path.is_file() and path.name != STUB:
            shutil.copyfile(path, python / path.name)
    onnxruntime = target / "onnxruntime"
    write_launcher(python, found.stubs, launches, onnxruntime)
    onnxruntime.mkdir()
    shutil.copyfile(TEMPLATE_ROOT / "backends" / "onnxruntime" / "model.py", onnxruntime / "model.py")
    shutil.copytree(
        TEMPLATE_ROOT / "runtime", onnxruntime / RUNTIME_PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )


def environment_for_triton() -> dict[str, str]:
    """Return our environment for Triton; what a stub needs beyond it, the launcher sets."""
    # ONNX Runtime from 1.30 on tells its maker of its use, unless it is told not to.
    unless_set = {"PATH": os.defpath, "ORT_DISABLE_TELEMETRY": "1"}
    # The fronts need no threads; a model's runtime sets its own number.
    return {**unless_set, **os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
