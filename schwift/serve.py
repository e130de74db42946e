"""`schwift serve`: build, start Triton and the adapter, say what is ready, and own both until a signal.

Every wait here is short, or ended by a signal, so that Ctrl-C works at any moment.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.errors import ServeError
from converter.schema.keys_file import make_key, read_keys
from converter.schema.manifest import Manifest, read_manifest
from converter.schema.settings import Settings, env_name
from converter.schema.tls import server_context
from schwift import process_tree, work_folder
from schwift.kill_pipe import KillPipe
from schwift.model_watcher import snapshot, watching
from schwift.process_group import ProcessGroup
from schwift.restarting import RestartingProcess
from schwift.supervisor import StopSignals, Supervisor
from schwift.triton.addresses import Addresses
from schwift.triton.embedded import EmbeddedTriton, bind, choose_addresses
from schwift.triton.installation import locate
from schwift.triton.launches import choose_launches
from schwift.triton_liveness import TritonLiveness
from schwift.wakes import waking
from schwift.work_folder import WorkFolder
from triton_repo_template.runtime.host.time_slice import SHORT_SECONDS, set_time_slice

_POLL_SECONDS = 0.1
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SETTLED = ("ready", "failed", "asleep")
# What is loaded, or can be.
_WELL = ("ready", "asleep")


class _Stopped(Exception):
    """A signal asked us to end."""


@dataclass(frozen=True)
class Running:
    """A server whose models are ready or failed, as `states` of its /health says.

    `go_on` looks after it, and is to be called again and again; it raises if a signal asks us to end. `rest` sleeps
    until it has to be called next.
    """

    host: str
    port: int
    manifest: Manifest
    states: Mapping[str, Any]
    go_on: Callable[[], None]
    rest: Callable[[], None]


Job = Callable[[Running], None]


def serve(settings: Settings, watch: bool = False, names: Sequence[str] = (), job: Job | None = None) -> int:
    """Serve until SIGINT or SIGTERM, with `watch` what changes too; the exit code is 0, or a failed build's own.

    With `names` these models alone are built. With a `job`, serve until it is done.

    Raises SchwiftError if something is missing, a port is taken, or Triton or the adapter cannot start.
    """
    found = locate(settings)
    # What is wrong with these is said before anything is built.
    tls = server_context(settings)
    if settings.api_keys_file is not None:
        read_keys(settings.api_keys_file)
    internal_key = make_key()
    launches = choose_launches(settings, found, _say)
    process_tree.adopt_orphans()
    for pid in work_folder.clear_dead():
        _say(f"removed what an earlier serve left that was killed (process {pid})")
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signals())
        wakes = stack.enter_context(waking())
        listener = stack.enter_context(bind(settings.host, settings.port, "PORT or --port"))
        work = stack.enter_context(work_folder.make())
        # From here to Triton's start, so that no other serve chooses the same ports meanwhile.
        held = stack.enter_context(contextlib.ExitStack())
        where = choose_addresses(settings, work, held)
        try:
            seen = snapshot(settings.model_directory) if watch else {}
            code = _build(settings, names, work, stop)
            if code != 0:
                return code
            manifest = read_manifest(settings.repository)
            caching = any(entry.spec.caching for entry in manifest.models)
            triton = EmbeddedTriton(found, settings, where, work, launches, caching)
            supervisor = _supervisor(settings, triton, listener, work, internal_key, stack)
            stack.callback(supervisor.stop, listener, stop, settings.drain_seconds)
            held.close()
            # Inherited by all that is started from now on: whoever hands requests on need not wait for who computes.
            set_time_slice(SHORT_SECONDS)
            supervisor.start()
            host, port = listener.getsockname()[:2]
            address = _Address(host, port, tls is not None, internal_key)
            _announce(supervisor, stop, manifest, address, where)
            if triton.shows_its_key():
                _say("warning: other users of this machine can read the key of Triton's control (`schwift doctor`)")
            if watch:
                stack.enter_context(watching(settings, seen, _say))
            go_on = functools.partial(_go_on, supervisor, stop)
            rest = functools.partial(supervisor.rest, wakes)
            (job or _serve_on)(Running(address.host, port, manifest, _states(address), go_on, rest))
            return 0
        except _Stopped:
            served = settings.drain_seconds if stop.first != signal.SIGINT else 0
            _say("stopping" if not served else f"stopping: requests are served for {served:g} s more")
    _say("stopped")
    return 0


def _supervisor(
    settings: Settings,
    triton: EmbeddedTriton,
    listener: socket.socket,
    work: WorkFolder,
    internal_key: str,
    stack: contextlib.ExitStack,
) -> Supervisor:
    """Make the owner of Triton and the adapter; the stack closes its pipe."""
    kill_pipe = stack.enter_context(contextlib.closing(KillPipe()))
    fds = (listener.fileno(), kill_pipe.write_end)
    mark = f"{work.mark}/adapter"
    environment = process_tree.marked(_adapter_environment(settings, triton, internal_key, *fds), mark)
    command = [sys.executable, "-I", "-m", "adapter"]
    return Supervisor(
        RestartingProcess("Triton", triton.start, triton.clean, _say),
        RestartingProcess(
            "the adapter",
            lambda: ProcessGroup("the adapter", command, environment, pass_fds=fds),
            functools.partial(process_tree.end, mark),
            _say,
        ),
        triton,
        TritonLiveness(triton.where.http, settings.triton_hang_seconds),
        kill_pipe,
        _say,
    )


@contextlib.contextmanager
def _signals() -> Iterator[StopSignals]:
    stop = StopSignals()
    # Under nohup the end of a terminal is none of ours.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = _STOP_SIGNALS[:-1] if ignored else _STOP_SIGNALS
    before = {number: signal.signal(number, lambda number, _: stop.note(number)) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build(settings: Settings, names: Sequence[str], work: WorkFolder, stop: StopSignals) -> int:
    """Build in a process of its own, as isolated as the adapter: what the build imports is not kept while serving."""
    command = [sys.executable, "-I", "-m", "converter", "build-repo"]
    command += ["--models", str(settings.model_directory), "--output", str(settings.repository)]
    command += [part for name in names for part in ("--model", name)]
    variables = {**os.environ, **_environment_settings(settings), "TMPDIR": str(work.path)}
    environment = process_tree.marked(variables, f"{work.mark}/build")
    build = ProcessGroup("the build", command, environment)
    try:
        while (code := build.exit_code()) is None:
            _pause(stop)
        return code
    finally:
        build.stop(patience=2)


@dataclass(frozen=True)
class _Address:
    """Where the adapter listens, and with which key it says how it is."""

    bound: str
    port: int
    tls: bool
    key: str

    @property
    def host(self) -> str:
        return "127.0.0.1" if self.bound in ("0.0.0.0", "::") else self.bound

    @property
    def url(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{shown}:{self.port}"


def _announce(
    supervisor: Supervisor, stop: StopSignals, manifest: Manifest, address: _Address, where: Addresses
) -> None:
    """Say of each model that it is ready or failed, then the addresses."""
    settled: dict[str, str] = {}
    works = False
    width = max(len(entry.name) for entry in manifest.models)
    while len(settled) < len(manifest.models):
        _pause(stop)
        try:
            supervisor.tick()
        except ServeError as error:
            # A Triton that had a model ready since the last look is one that died, and not one that cannot start.
            if not any(status["load_seconds"] is not None for status in _states(address).values()):
                raise
            how, *words = str(error).splitlines()
            _say("\n  ".join([f"{how}; it is started again", *words]))
            supervisor.triton_works()
        states = _states(address)
        if states:
            supervisor.adapter_works()
        if not works and any(status["state"] in _WELL for status in states.values()):
            works = True
            supervisor.triton_works()
        for name, status in states.items():
            if status["state"] in _SETTLED and name not in settled:
                settled[name] = status["state"]
                loaded = [f"loaded in {status['load_seconds']:.1f} s"] if status["state"] in _WELL else []
                detail = "; ".join([*loaded, *filter(None, [status["reason"]])])
                _say(f"{status['state']:<6}  {name:<{width}}  {detail}")
    ready = sum(state in _WELL for state in settled.values())
    word = "ready" if ready == len(settled) else "not ready"
    url = address.url
    metrics = where.metrics.removeprefix("http://").removesuffix("/metrics")
    _say(f"Triton: http {where.http}, grpc {where.grpc}, metrics {metrics}")
    _say(f"{word}: {ready} of {len(settled)} models at {url} (try {url}/docs; Ctrl-C stops)")


def _states(address: _Address) -> Mapping[str, Any]:
    """Return each model's part of the adapter's /health; nothing while it does not answer."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=1)
    if address.tls:
        # Not verified: the socket is ours, and the certificate is made for the name that clients know.
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=1, context=unverified)
    try:
        connection.request("GET", "/health", headers={"X-API-Key": address.key})
        models: Mapping[str, Any] = json.loads(connection.getresponse().read())["models"]
        return models
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return {}
    finally:
        connection.close()


def _pause(stop: StopSignals) -> None:
    time.sleep(_POLL_SECONDS)
    _check_signals(stop)


def _check_signals(stop: StopSignals) -> None:
    if stop.count:
        raise _Stopped


def _serve_on(running: Running) -> None:
    while True:
        running.rest()
        running.go_on()


def _go_on(supervisor: Supervisor, stop: StopSignals) -> None:
    _check_signals(stop)
    supervisor.tick()


def _adapter_environment(
    settings: Settings, triton: EmbeddedTriton, internal_key: str, listener: int, kill_pipe: int
) -> dict[str, str]:
    """Return our environment with what was decided here: the adapter reads the same settings."""
    files = {
        env_name(field): str(path)
        for field in ("api_keys_file", "tls_cert", "tls_key")
        if (path := getattr(settings, field)) is not None
    }
    return {
        **os.environ,
        **files,
        **_environment_settings(settings),
        "SCHWIFT_INTERNAL_KEY": internal_key,
        "MODEL_DIRECTORY": str(settings.model_directory),
        "SCHWIFT_HOST": settings.host,
        "SCHWIFT_LISTEN_FD": str(listener),
        "SCHWIFT_REPOSITORY": str(settings.repository),
        "SCHWIFT_NOTES": str(triton.notes),
        "SCHWIFT_SUPERVISOR_FD": str(kill_pipe),
        "SCHWIFT_TRITON_KEY_FILE": str(triton.key_file),
        "SCHWIFT_TRITON_HTTP": triton.where.http,
        "SCHWIFT_TRITON_GRPC": triton.where.grpc,
        "SCHWIFT_TRITON_METRICS": triton.where.metrics,
    }


def _environment_settings(settings: Settings) -> dict[str, str]:
    """Return the variables that say where models run, which an option may have decided, and where that is kept."""
    paths = {"model_env": settings.model_env, "cache": settings.cache_directory}
    return {env_name(field): str(path) for field, path in paths.items() if path is not None}


def _say(text: str) -> None:
    print(text, flush=True)
