"""`schwift verify`: the models' own answers, then a server on free ports for as long as its answers are compared."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from converter.authoring.original import Original, ask_originals, describe_form
from converter.build import print_progress
from converter.inspect.discover import ModelSource, check_names, discover
from converter.inspect.inspector import inspect_all
from converter.inspect.model_environments import ModelEnvironments
from converter.schema.settings import Settings, env_name
from schwift.commands.served_rows import ServedModel
from schwift.commands.verification import Verification, Verified
from schwift.commands.verify_report import format_json, format_text
from schwift.serve import Running, serve

# What a server for clients has, and one for us alone does not need.
_LEFT_OUT = (
    "log_directory", "debug_mode", "debug_model", "max_requests", "publish", "listen_fd", "supervisor_fd", "notes",
    "triton_http_port", "triton_grpc_port", "triton_metrics_port", "triton_key_file", "control_socket", "access_log",
    "otlp_endpoint", "api_keys_file", "internal_key", "trusted_hops", "tls_cert", "tls_key", "workers", "regime",
)  # fmt: skip
_INTERRUPTED = 130
# Beyond a request's own deadline, which the server keeps.
_MORE_SECONDS = 10.0


def verify_models(settings: Settings, names: Sequence[str], form: str) -> int:
    """Compare these models, or all, print the table, and return the exit code: 1 if an answer differs.

    Raises SchwiftError if a model cannot be built, or Triton does not start.
    """
    with _result_stream() as stream, _own_settings(settings) as own:
        sources, forms, originals = _ask_originals(own, names)
        results = [Verified(source.spec.name, "skipped", notes=("verify: false",)) for source in sources]
        found = {each.name: each for each in results}
        if any(name in originals for name in found):
            done: list[Verified] = []
            code = serve(own, names=names, job=lambda running: done.extend(_compare(running, own, forms, originals)))
            if code != 0:
                return code
            if len(done) != len(originals):
                return _INTERRUPTED
            found |= {each.name: each for each in done}
        results = list(found.values())
        print(format_json(results) if form == "json" else format_text(results), file=stream, flush=True)
    return 0 if all(each.result in ("equal", "skipped") for each in results) else 1


def _ask_originals(
    settings: Settings, names: Sequence[str]
) -> tuple[list[ModelSource], dict[str, dict[str, Any]], dict[str, Original]]:
    """Return the models, and for those that are compared the form of their rows and the original's answers."""
    environments = ModelEnvironments(settings, print_progress)
    discovery = discover(settings.model_directory, settings.model_links)
    check_names(names, discovery)
    sources = environments.prepare([item for item in discovery.sources if not names or item.spec.name in names])
    with tempfile.TemporaryDirectory(prefix="compiled-", dir=settings.repository.parent) as scratch:
        facts = inspect_all(sources, Path(scratch), os.cpu_count() or 1, environments)
        compared = [source for source in sources if source.spec.verify is not False]
        print_progress(f"asking {len(compared)} originals")
        forms = {source.spec.name: describe_form(source, facts[source.spec.name]) for source in compared}
        return list(sources), forms, ask_originals(compared, facts, Path(scratch))


def _compare(
    running: Running, settings: Settings, forms: dict[str, dict[str, Any]], originals: dict[str, Original]
) -> Iterator[Verified]:
    """Compare one model after the other."""
    timeout = settings.predict_timeout_seconds + _MORE_SECONDS
    for name, original in originals.items():
        entry, status = running.manifest.model(name), running.states.get(name, {})
        reason = original.problem
        if entry is None or status.get("state") != "ready":
            reason = status.get("reason") or "it is not ready"
        if entry is None or reason is not None:
            yield Verified(name, "failed", original.asked, notes=(str(reason),))
            continue
        print_progress(f"comparing {name}: {len(original.rows)} rows")
        served = ServedModel(running.host, running.port, name, timeout)
        yield Verification(entry, forms[name], original, served, settings.max_body_bytes, running.go_on).run()


@contextlib.contextmanager
def _own_settings(settings: Settings) -> Iterator[Settings]:
    """Serve from a folder of our own, to nobody else, and otherwise as the settings say.

    The processes that are started read the environment and no .env, since this folder is theirs too.
    """
    before, here = dict(os.environ), os.getcwd()
    # Under nohup the end of a terminal is none of ours.
    heard = [signal.SIGTERM, *([signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else [])]
    handlers = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        with tempfile.TemporaryDirectory(prefix="schwift-verify-", ignore_cleanup_errors=True) as folder:
            kept = settings.model_fields_set.difference(_LEFT_OUT)
            values = {name: value for name in kept if (value := getattr(settings, name)) is not None}
            own = {
                "model_directory": settings.model_directory,
                "repository": Path(folder, "model_repository"),
                "host": "127.0.0.1",
                "port": 0,
                "drain_seconds": 0,
                "error_detail": "full",
                # What differs is what is to be shown.
                "check": "off",
            }
            for name in Settings.model_fields:
                os.environ.pop(env_name(name), None)
            os.environ.update({env_name(name): str(value) for name, value in {**values, **own}.items()})
            os.chdir(folder)
            try:
                yield Settings()
            finally:
                os.chdir(here)
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _result_stream() -> Iterator[IO[str]]:
    """Keep standard output for the result: what is said meanwhile, by children too, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(os.dup(kept), "w", encoding="utf-8") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
