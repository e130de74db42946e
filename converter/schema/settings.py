"""The environment and `.env`, read once; values are passed in from here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, AliasGenerator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from converter.errors import ConfigError

# Which way the rows of /predict_batched take (adapter/batching/route.py).
RegimeName = Literal["idle", "busy", "rush"]
REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)

# The settings of the first SchwiftServe, which the environment has without our prefix.
_FIRST = {
    "port", "max_ml_workers", "max_batch_size", "batcher_queue_n", "log_directory", "model_directory", "debug_mode",
    "debug_model", "max_concurrent_requests", "predict_timeout_seconds", "circuit_breaker_recovery_timeout",
    "max_requests", "requests_period_seconds",
}  # fmt: skip


def env_name(field: str) -> str:
    """Return the environment variable that sets a field of `Settings`."""
    return field.upper() if field in _FIRST else f"SCHWIFT_{field.upper()}"


def _make_absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))
    except RuntimeError as error:
        raise ValueError("this user's home is not known: write the whole path") from error


AbsolutePath = Annotated[Path, AfterValidator(_make_absolute)]
Port = Annotated[int, Field(ge=0, le=65535)]
Descriptor = Annotated[int, Field(ge=0)]
_URL = r"^https?://[^\s/@,?#]+(/[^\s?#,]*)?$"
_ORIGIN = r"https?://[^\s/@,?#*]+"
CorsOrigins = Annotated[str, Field(pattern=rf"^(\*|{_ORIGIN}(\s*,\s*{_ORIGIN})*)$")]
OtlpEndpoint = Annotated[str, Field(pattern=_URL), AfterValidator(lambda url: url.rstrip("/"))]


class Settings(BaseSettings):
    """Every setting, with its default. A real environment variable wins over `.env`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=env_name),
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        protected_namespaces=(),
    )

    port: Port = Field(8005, description="the port of the HTTP endpoints")
    max_ml_workers: int = Field(
        4, ge=1, description="most model instances × threads that run at once (capped at the cores)"
    )
    max_batch_size: int = Field(32, ge=1, description="most rows of a batch, if a model names no preferred_batch_size")
    batcher_queue_n: int = Field(32, description="read, and without effect")
    log_directory: AbsolutePath = Field(Path("./logs"), description="where DEBUG_MODE writes its logs")
    model_directory: AbsolutePath = Field(Path("./models"), description="where the models are")
    debug_mode: bool = Field(
        False, description="write logs to LOG_DIRECTORY, with a line for each request and the time of each stage"
    )
    debug_model: bool = Field(False, description="batch-level debug lines in the model processes")
    max_concurrent_requests: int = Field(
        1024, ge=1, description="requests in flight in the adapter, all models together"
    )
    predict_timeout_seconds: float = Field(15, gt=0, le=3600, description="the deadline of a request")
    circuit_breaker_recovery_timeout: float = Field(
        30, gt=0, description="the longest time that a circuit breaker stays open"
    )
    max_requests: int | None = Field(
        None, ge=1, description="quota per client on both predict endpoints; off unless set"
    )
    requests_period_seconds: float = Field(60, gt=0, description="the period of MAX_REQUESTS")

    host: str = Field("127.0.0.1", description="the address the adapter listens on")
    grpc_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="the port on which the adapter speaks the V2 protocol over gRPC; off unless set"
    )
    publish: str | None = Field(
        None, description="the address of this machine at which compose publishes the adapter's port"
    )
    listen_fd: Descriptor | None = Field(
        None, description="an open socket to listen on in place of PORT; `schwift serve` sets it for the adapter"
    )
    supervisor_fd: Descriptor | None = Field(
        None, description="a pipe that takes `kill <Triton model>` and `end <process id>` lines; set by `schwift serve`"
    )
    notes: AbsolutePath | None = Field(
        None, description="where the processes of packs note which model they are in; set by `schwift serve`"
    )
    repository: AbsolutePath = Field(
        Path("./model_repository"), description="where the Triton model repository is written and read"
    )
    triton_http_port: Port = Field(0, description="Triton's HTTP port; 0 takes a free one")
    triton_grpc_port: Port = Field(0, description="Triton's gRPC port; 0 takes a free one")
    triton_metrics_port: Port = Field(0, description="Triton's metrics port; 0 takes a free one")
    triton_ports: Literal["on", "off"] = Field(
        "on",
        description="off: Triton under `schwift serve` has Unix sockets that this user alone can reach, and no port",
    )
    triton_key_file: AbsolutePath | None = Field(
        None, description="the file with the key of Triton's control; made if there is none"
    )
    triton_http: str = Field(
        "127.0.0.1:8000", description="host:port of the Triton that a stand-alone adapter uses, or unix:path"
    )
    triton_grpc: str = Field("127.0.0.1:8001", description="the gRPC host:port of that Triton, or unix:path")
    triton_metrics: str = Field(
        "http://127.0.0.1:8002/metrics", description="the metrics address of that Triton, or unix:path"
    )
    max_body_bytes: int = Field(16 * 1024 * 1024, ge=1024, description="the largest request body, in bytes")
    max_head_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = Field(
        64 * 1024, description="the largest head of a request (first line and headers), in bytes"
    )
    max_headers: int = Field(100, ge=8, le=10_000, description="the most headers of a request")
    keep_alive_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        75, description="how long an idle connection is kept; longer than a load balancer in front keeps its own"
    )
    model_load_timeout_seconds: float = Field(60, gt=0, description="how long one model may take to load")
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        5, description="how long requests are served after SIGTERM, while load balancers notice that it ends"
    )
    triton_hang_seconds: float = Field(
        60, ge=1, description="how long Triton may not answer before `schwift serve` kills it and starts it again"
    )
    workers: int = Field(
        1, ge=1, le=64, description="adapter processes on the one port; bounds and metrics are those of all together"
    )
    regime: RegimeName | None = Field(
        None, description="one regime whatever the load, for measuring; chosen by load unless set"
    )
    cache: AbsolutePath | None = Field(
        None,
        description="the folder of what is downloaded once; $XDG_CACHE_HOME/schwift or ~/.cache/schwift unless set",
    )
    engine: AbsolutePath | None = Field(
        None, description="a folder with a Triton, such as a copy or a build of yours; the cache has one unless set"
    )
    model_env: AbsolutePath | None = Field(
        None, description="the venv or conda environment that models run in; schwift's own unless set"
    )
    check: Literal["on", "off"] = Field(
        "on", description="off: a build does not try the models that changed, as `schwift check` does"
    )
    environments: Literal["on", "off"] = Field(
        "on", description="off: no environment is made for a model; those that are there are used"
    )
    pack: Literal["libraries", "off"] = Field(
        "off",
        description="libraries: models of known libraries' code alone share processes; off: only those that say `pack`",
    )
    pack_memory_mb: int | None = Field(
        None,
        ge=64,
        description="the most memory of the models in one pack's process, in MiB; those asked least lately are put to "
        "sleep beyond it",
    )
    model_links: AbsolutePath | None = Field(
        None, description="the folder outside of MODEL_DIRECTORY that links in it may point into; none unless set"
    )
    trust: Literal["allow-list", "any"] = Field(
        "allow-list",
        description="which pickles are built: those that name only what is known to be harmless, or any, as code",
    )
    trust_imports: str | None = Field(
        None, description="what pickles may name besides: `module:name` or `module.*`, separated by commas"
    )
    trust_folders: str | None = Field(
        None, description="the folders, separated by `:`, in which `trusted: true` of a model's config counts"
    )
    control_socket: AbsolutePath | None = Field(
        None, description="the Unix socket that `schwift reload` speaks over; beside the repository unless set"
    )
    cache_bytes: Annotated[int, Field(ge=1024)] = Field(
        64 * 1024 * 1024, description="the size of Triton's response cache, shared by the models with caching: true"
    )

    log_format: Literal["console", "json"] = Field(
        "console", description="log lines for people, or one JSON object each"
    )
    default_model: str | None = Field(
        None, description="the model that /invocations asks; if there is only one, that one unless set"
    )
    error_detail: Literal["generic", "full"] | None = Field(
        None, description="full: an error of the model's own says what it raised, without the input's values"
    )
    access_log: Literal["off", "errors", "all"] | None = Field(
        None, description="a log line for no request, for those not answered with 200, or for each"
    )

    otlp_endpoint: OtlpEndpoint | None = Field(
        None, description="the address of a collector of traces (OTLP over HTTP); no traces unless set"
    )

    api_keys_file: AbsolutePath | None = Field(
        None, description="the file of the API keys that clients need; none unless set"
    )
    internal_key: Annotated[str, Field(min_length=32)] | None = Field(
        None, repr=False, description="a key that may read; set by `schwift serve`, which asks the adapter how it is"
    )
    trusted_hops: Annotated[int, Field(ge=0, le=16)] = Field(
        0,
        description="proxies in front that write X-Forwarded-For; the client is the so-manieth address from the right",
    )
    cors_origins: CorsOrigins | None = Field(
        None, description="the origins, separated by commas, whose pages may ask from a browser; `*` is any"
    )
    tls_cert: AbsolutePath | None = Field(None, description="the certificate chain (PEM) of HTTPS; HTTP unless set")
    tls_key: AbsolutePath | None = Field(None, description="the private key (PEM) of that certificate")

    @property
    def embedded(self) -> bool:
        """Whether `schwift serve` started this adapter, and Triton beside it."""
        return self.listen_fd is not None or self.supervisor_fd is not None

    @property
    def cors_origin_list(self) -> list[str]:
        """`cors_origins` one by one."""
        return [origin.strip() for origin in (self.cors_origins or "").split(",") if origin.strip()]

    @property
    def access_lines(self) -> Literal["off", "errors", "all"]:
        """`access_log`, with its default: off, and all with DEBUG_MODE."""
        return self.access_log or ("all" if self.debug_mode else "off")

    @property
    def tells_reasons(self) -> bool:
        """Whether clients are told what a model raised: with `error_detail` full, or in DEBUG_MODE unless generic."""
        return self.debug_mode if self.error_detail is None else self.error_detail == "full"

    @property
    def cache_directory(self) -> Path:
        """Where Triton's binaries and models' environments are kept. Raises ConfigError if no home is known."""
        if self.cache is not None:
            return self.cache
        # What is relative there is to be ignored, says the XDG base directory specification.
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if base.is_absolute():
            return base / "schwift"
        try:
            return Path.home() / ".cache" / "schwift"
        except RuntimeError as error:
            raise ConfigError(
                "SCHWIFT_CACHE: this user's home is not known: name a folder to keep things in"
            ) from error

    @property
    def environments_directory(self) -> Path:
        """Where models' environments are kept. Raises ConfigError if no home is known."""
        return self.cache_directory / "environments"

    @property
    def needs_fronts(self) -> bool:
        """Whether somebody may ask the fronts: native clients, or a regime that is forced."""
        return not self.embedded or self.triton_ports == "on" or self.regime == "busy"

    @property
    def control_path(self) -> Path:
        """Where the socket is that `schwift reload` speaks over."""
        return self.control_socket or self.repository.with_name(f".{self.repository.name}.sock")

    @property
    def triton_key_path(self) -> Path:
        """Where the key of a Triton that runs alone is; `schwift serve` names one of its own to the adapter."""
        return self.triton_key_file or self.repository.with_name(f".{self.repository.name}.key")


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the environment and `env_file`; overrides (a command's options) win unless None.

    Raises ConfigError naming the variable and its fault, and nothing of its content.
    """
    # By alias: the bare names of our own settings (HOST, …) must mean nothing in the environment.
    given = {env_name(name): value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_env_file=env_file, **given)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{env_file}: not UTF-8 at byte {error.start}: save the file as UTF-8") from error
    except ValidationError as error:
        raise ConfigError(
            [
                f"{item['loc'][0]}: {item['msg']} (set in the environment or in {env_file})"
                for item in error.errors(include_input=False, include_url=False)
            ]
        ) from error
