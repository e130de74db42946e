"""The environment and `.env`, read once; values are passed in from here.

The names without the prefix SCHWIFT_ are the users', from the first SchwiftServe.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from converter.errors import ConfigError

# Which way the rows of /predict_batched take (adapter/batching/route.py).
RegimeName = Literal["idle", "busy", "rush"]
REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)


class Settings(BaseSettings):
    """Every setting, with its default. A real environment variable wins over `.env`."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        protected_namespaces=(),
    )

    port: int = Field(8005, ge=0, le=65535, description="the port of the HTTP endpoints")
    max_ml_workers: int = Field(
        4, ge=1, description="most model instances × threads that run at once (capped at the cores)"
    )
    max_batch_size: int = Field(32, ge=1, description="most rows of a batch, if a model names no preferred_batch_size")
    batcher_queue_n: int = Field(32, description="read, and without effect")
    log_directory: Path = Field(Path("./logs"), description="where DEBUG_MODE writes its logs")
    model_directory: Path = Field(Path("./models"), description="where the models are")
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

    host: str = Field("127.0.0.1", validation_alias="SCHWIFT_HOST", description="the address the adapter listens on")
    publish: str | None = Field(
        None, validation_alias="SCHWIFT_PUBLISH",
        description="the address of this machine at which compose publishes the adapter's port",
    )  # fmt: skip
    listen_fd: int | None = Field(
        None, ge=0, validation_alias="SCHWIFT_LISTEN_FD",
        description="an open socket to listen on in place of PORT; `schwift serve` sets it for the adapter",
    )  # fmt: skip
    supervisor_fd: int | None = Field(
        None, ge=0, validation_alias="SCHWIFT_SUPERVISOR_FD",
        description="a pipe that takes `kill <Triton model>` and `end <process id>` lines; set by `schwift serve`",
    )  # fmt: skip
    repository: Path = Field(
        Path("./model_repository"),
        validation_alias="SCHWIFT_REPOSITORY",
        description="where the Triton model repository is written and read",
    )
    triton_http_port: int = Field(
        0, ge=0, le=65535, validation_alias="SCHWIFT_TRITON_HTTP_PORT",
        description="Triton's HTTP port; 0 takes a free one",
    )  # fmt: skip
    triton_grpc_port: int = Field(
        0, ge=0, le=65535, validation_alias="SCHWIFT_TRITON_GRPC_PORT",
        description="Triton's gRPC port; 0 takes a free one",
    )  # fmt: skip
    triton_metrics_port: int = Field(
        0, ge=0, le=65535, validation_alias="SCHWIFT_TRITON_METRICS_PORT",
        description="Triton's metrics port; 0 takes a free one",
    )  # fmt: skip
    triton_ports: Literal["on", "off"] = Field(
        "on", validation_alias="SCHWIFT_TRITON_PORTS",
        description="off: Triton under `schwift serve` has Unix sockets that this user alone can reach, and no port",
    )  # fmt: skip
    triton_key_file: Path | None = Field(
        None, validation_alias="SCHWIFT_TRITON_KEY_FILE",
        description="the file with the key of Triton's control; made if there is none",
    )  # fmt: skip
    triton_http: str = Field(
        "127.0.0.1:8000",
        validation_alias="SCHWIFT_TRITON_HTTP",
        description="host:port of the Triton that a stand-alone adapter uses, or unix:path",
    )
    triton_grpc: str = Field(
        "127.0.0.1:8001",
        validation_alias="SCHWIFT_TRITON_GRPC",
        description="the gRPC host:port of that Triton, or unix:path",
    )
    triton_metrics: str = Field(
        "http://127.0.0.1:8002/metrics",
        validation_alias="SCHWIFT_TRITON_METRICS",
        description="the metrics address of that Triton, or unix:path",
    )
    max_body_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, validation_alias="SCHWIFT_MAX_BODY_BYTES",
        description="the largest request body, in bytes",
    )  # fmt: skip
    max_head_bytes: int = Field(
        64 * 1024, ge=1024, le=1024 * 1024, validation_alias="SCHWIFT_MAX_HEAD_BYTES",
        description="the largest head of a request (first line and headers), in bytes",
    )  # fmt: skip
    max_headers: int = Field(
        100, ge=8, le=10_000, validation_alias="SCHWIFT_MAX_HEADERS", description="the most headers of a request"
    )
    keep_alive_seconds: int = Field(
        75, ge=1, le=3600, validation_alias="SCHWIFT_KEEP_ALIVE_SECONDS",
        description="how long an idle connection is kept; longer than a load balancer in front keeps its own",
    )  # fmt: skip
    model_load_timeout_seconds: float = Field(
        60, gt=0, validation_alias="SCHWIFT_MODEL_LOAD_TIMEOUT_SECONDS",
        description="how long one model may take to load",
    )  # fmt: skip
    drain_seconds: float = Field(
        5, ge=0, le=3600, validation_alias="SCHWIFT_DRAIN_SECONDS",
        description="how long requests are served after SIGTERM, while load balancers notice that it ends",
    )  # fmt: skip
    triton_hang_seconds: float = Field(
        60, ge=1, validation_alias="SCHWIFT_TRITON_HANG_SECONDS",
        description="how long Triton may not answer before `schwift serve` kills it and starts it again",
    )  # fmt: skip
    workers: int = Field(
        1, ge=1, le=64, validation_alias="SCHWIFT_WORKERS",
        description="adapter processes on the one port; bounds and metrics are those of all together",
    )  # fmt: skip
    regime: RegimeName | None = Field(
        None, validation_alias="SCHWIFT_REGIME",
        description="one regime whatever the load, for measuring; chosen by load unless set",
    )  # fmt: skip
    model_links: Path | None = Field(
        None, validation_alias="SCHWIFT_MODEL_LINKS",
        description="the folder outside of MODEL_DIRECTORY that links in it may point into; none unless set",
    )  # fmt: skip
    control_socket: Path | None = Field(
        None, validation_alias="SCHWIFT_CONTROL_SOCKET",
        description="the Unix socket that `schwift reload` speaks over; beside the repository unless set",
    )  # fmt: skip
    cache_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, validation_alias="SCHWIFT_CACHE_BYTES",
        description="the size of Triton's response cache, shared by the models with caching: true",
    )  # fmt: skip

    log_format: Literal["console", "json"] = Field(
        "console", validation_alias="SCHWIFT_LOG_FORMAT",
        description="log lines for people, or one JSON object each",
    )  # fmt: skip
    access_log: Literal["off", "errors", "all"] | None = Field(
        None, validation_alias="SCHWIFT_ACCESS_LOG",
        description="a log line for no request, for those not answered with 200, or for each",
    )  # fmt: skip

    otlp_endpoint: str | None = Field(
        None, validation_alias="SCHWIFT_OTLP_ENDPOINT", pattern=r"^https?://[^\s/@,?#]+(/[^\s?#,]*)?$",
        description="the address of a collector of traces (OTLP over HTTP); no traces unless set",
    )  # fmt: skip

    api_keys_file: Path | None = Field(
        None, validation_alias="SCHWIFT_API_KEYS_FILE",
        description="the file of the API keys that clients need; none unless set",
    )  # fmt: skip
    internal_key: str | None = Field(
        None, min_length=32, repr=False, validation_alias="SCHWIFT_INTERNAL_KEY",
        description="a key that may read; set by `schwift serve`, which asks the adapter how it is",
    )  # fmt: skip
    trusted_hops: int = Field(
        0, ge=0, le=16, validation_alias="SCHWIFT_TRUSTED_HOPS",
        description="proxies in front that write X-Forwarded-For; the client is the so-manieth address from the right",
    )  # fmt: skip
    tls_cert: Path | None = Field(
        None, validation_alias="SCHWIFT_TLS_CERT", description="the certificate chain (PEM) of HTTPS; HTTP unless set"
    )
    tls_key: Path | None = Field(
        None, validation_alias="SCHWIFT_TLS_KEY", description="the private key (PEM) of that certificate"
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        return value if value is None else value.rstrip("/")

    @field_validator(
        "log_directory", "model_directory", "repository", "control_socket", "model_links", "triton_key_file",
        "api_keys_file", "tls_cert", "tls_key",
    )  # fmt: skip
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        try:
            return Path(os.path.abspath(value.expanduser()))
        except RuntimeError as error:
            raise ValueError("this user's home is not known: write the whole path") from error

    @property
    def embedded(self) -> bool:
        """Whether `schwift serve` started this adapter, and Triton beside it."""
        return self.listen_fd is not None or self.supervisor_fd is not None

    @property
    def access_lines(self) -> Literal["off", "errors", "all"]:
        """`access_log`, with its default: off, and all with DEBUG_MODE."""
        return self.access_log or ("all" if self.debug_mode else "off")

    @property
    def control_path(self) -> Path:
        """Where the socket is that `schwift reload` speaks over."""
        return self.control_socket or self.repository.with_name(f".{self.repository.name}.sock")

    @property
    def triton_key_path(self) -> Path:
        """Where the key of a Triton that runs alone is; `schwift serve` names one of its own to the adapter."""
        return self.triton_key_file or self.repository.with_name(f".{self.repository.name}.key")


def env_name(field: str) -> str:
    """Return the environment variable that sets a field of `Settings`."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices) or alias is None:
        return field.upper()
    return str(alias)


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the environment and `env_file`; overrides (a command's options) win unless None.

    Raises ConfigError naming the variable, its value's fault, and nothing of its value's content.
    """
    # By alias: the bare names of our own settings (HOST, …) must mean nothing in the environment.
    given = {
        str(Settings.model_fields[name].validation_alias or name): value
        for name, value in overrides.items()
        if value is not None
    }
    try:
        return Settings(_env_file=env_file, **given)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{env_file}: not UTF-8 at byte {error.start}: save the file as UTF-8") from error
    except ValidationError as error:
        problems = []
        for item in error.errors(include_input=False, include_url=False):
            field = str(item["loc"][0])
            name = env_name(field) if field in Settings.model_fields else field
            problems.append(f"{name}: {item['msg']} (set in the environment or in {env_file})")
        raise ConfigError(problems) from error
