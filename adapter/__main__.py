"""`python -m adapter`: serve the repository of the settings from the Triton of the settings."""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import ssl
import sys
from collections.abc import Callable
from importlib import metadata

import uvicorn
import uvloop

from adapter.app import create_app
from adapter.backend.triton import Triton
from adapter.limits import exposure
from adapter.request_timings import Traces
from adapter.sharing import SharedState
from adapter.sockets import listening
from adapter.sockets.connection_bounds import HeadBounds
from adapter.sockets.fast_protocol import predict_protocol
from adapter.sockets.graceful import GracefulServer
from adapter.telemetry import log_setup
from adapter.wiring import manifest_reader
from adapter.workers import counters, prefork
from converter.errors import ConfigError, PortInUse, SchwiftError
from converter.schema import lossy_stream, triton_key
from converter.schema.keys_file import read_keys
from converter.schema.manifest import Manifest
from converter.schema.settings import Settings, load_settings
from converter.schema.tls import server_context

# After the drain, so long for what is in flight; then it is answered that the server ends.
ANSWER_SECONDS = 15
# Requests make no cycles to speak of; the youngest generation is looked at less often than by default.
_GC_THRESHOLDS = (20_000, 20, 20)
_OTEL_PACKAGE = "opentelemetry-exporter-otlp-proto-http"


def main() -> int:
    """Serve until a signal ends it. Return the exit code."""
    try:
        settings = load_settings()
        log_setup.set_up(settings)
        check_extras(settings)
        if settings.triton_key_file is not None:
            # Without it nothing would ever be loaded.
            triton_key.read(settings.triton_key_file)
        tls = server_context(settings)
        address, has_keys = exposure.reached_at(settings.host, settings.publish), settings.api_keys_file is not None
        exposure.warn(address, has_keys, tls is not None, settings.grpc_port)
        if settings.api_keys_file is not None:
            # An error here, and not in each worker.
            read_keys(settings.api_keys_file)
        manifest = manifest_reader(settings)(settings.repository)
        sharing = SharedState([entry.name for entry in (*manifest.hosts, *manifest.models)], settings.workers)
        check_grpc_port(settings)
        with _listener(settings) as sock:
            # What is imported lives to the end: looking through it again and again costs pauses of tens of
            # milliseconds, and in a worker it would copy the pages that it shares with the others.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLDS)

            def serve(worker: int) -> int:
                lost = counters.Cell(sharing.table, counters.ALL, worker, counters.LINES_LOST)
                log_setup.add_files(settings, worker, lost.add)
                uvloop.install()
                asyncio.run(_serve(settings, manifest, sock, sharing, worker, tls))
                return 0

            def end() -> None:
                sharing.ending.set()
                sock.close()

            if settings.workers == 1:
                sharing.ending.set()
                return serve(0)
            return prefork.run(settings.workers, serve, end)
    except SchwiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


async def _serve(
    settings: Settings,
    manifest: Manifest,
    sock: socket.socket,
    sharing: SharedState,
    worker: int,
    tls: ssl.SSLContext | None,
) -> None:
    traces, call_headers = (None, None) if settings.otlp_endpoint is None else _traces(settings.otlp_endpoint, worker)
    key = functools.partial(triton_key.grpc_metadata, settings.triton_key_path)
    triton = Triton(settings.triton_http, settings.triton_grpc, settings.triton_metrics, call_headers, key)
    app = create_app(settings, manifest, triton, sharing, worker, controlled=True, traces=traces)
    config = uvicorn.Config(
        app,
        loop="none",
        http=predict_protocol(app.endpoint, HeadBounds(settings.max_head_bytes, settings.max_headers)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # SCHWIFT_TRUSTED_HOPS says what is believed of X-Forwarded-For, and quotas go by it: not uvicorn's business.
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    config.load()
    # Ours, since uvicorn's own takes its protocols and ciphers from elsewhere.
    config.ssl = tls
    server = GracefulServer(config, app.endpoint.drain, settings.drain_seconds, sharing.ending.is_set)
    await server.serve(sockets=[sock])


def _traces(endpoint: str, worker: int) -> tuple[Traces, Callable[[], bytes]]:
    # Imported where it is asked for: the extra may not be installed, and costs 20 MB in each worker.
    from adapter.telemetry import tracing

    return tracing.Tracing(endpoint, worker), tracing.call_headers


def check_extras(settings: Settings) -> None:
    """Raise ConfigError if traces are asked for and what sends them is not installed."""
    if settings.otlp_endpoint is None:
        return
    try:
        metadata.version(_OTEL_PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"SCHWIFT_OTLP_ENDPOINT needs {_OTEL_PACKAGE}: pip install -c constraints.txt '.[otel]'"
        ) from error


def check_grpc_port(settings: Settings) -> None:
    """Raise PortInUse if gRPC is asked for on a port that cannot be had; the workers share it later."""
    if settings.grpc_port is None:
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.grpc_port))
            sock.listen()
        except OSError as error:
            raise PortInUse(
                f"port {settings.grpc_port} on {settings.host} cannot be used: {error.strerror}: "
                "choose another (SCHWIFT_GRPC_PORT)"
            ) from error


def _listener(settings: Settings) -> socket.socket:
    """Return the socket that `schwift serve` bound for us, or one of our own."""
    if settings.listen_fd is not None:
        sock = socket.socket(fileno=settings.listen_fd)
        # The adapter before this one may have begun its end.
        listening.take_again(sock)
        return sock
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        sock.close()
        raise PortInUse(
            f"port {settings.port} on {settings.host} cannot be used: {error.strerror}: choose another (PORT)"
        ) from error
    return sock


if __name__ == "__main__":
    lossy_stream.take_over_standard_streams()
    sys.exit(main())
