"""The command `schwift`: parse, call, print, exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from converter.cores import available_cores
from converter.errors import ConfigError, SchwiftError
from converter.keys.commands import keys
from converter.schema import triton_key
from converter.schema.settings import load_settings

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)
_SKIP_MISSING = click.option(
    "--skip-missing", is_flag=True, help="Leave out a model whose library is not installed, and say so."
)


class _Group(click.Group):
    """Ends with the error's own exit code and its one sentence, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SchwiftError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            if isinstance(error, ConfigError):
                click.echo("Nothing was written.", err=True)
            sys.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="schwift")
def main() -> None:
    """Simple model serving for lite ML models on CPUs.

    Settings come from the environment and from .env in the current folder; options win.
    """


main.add_command(keys)


@main.command("build-repo")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option(
    "--output",
    type=_FOLDER,
    help="The repository to write. [env: SCHWIFT_REPOSITORY; ./model_repository]",
)
@click.option("--model", "names", multiple=True, metavar="NAME", help="Build only this model; may be repeated.")
@click.option("--check", is_flag=True, help="Write nothing; say what would change.")
@_SKIP_MISSING
def build_repo(
    models: Path | None, output: Path | None, names: tuple[str, ...], check: bool, skip_missing: bool
) -> None:
    """Turn models/ into a Triton model repository.

    Exit code 0, or 2 for a bad model_config.yaml, model file or option.
    """
    from converter.build import build_repository
    from converter.report import report
    from converter.repository.plan import BuildOptions

    settings = load_settings(model_directory=models, repository=output)
    if settings.triton_key_file is not None and not check:
        # For a Triton and an adapter that share it, and may not write it (docker-compose.yml).
        triton_key.ensure(settings.triton_key_file)
    build = build_repository(
        settings.model_directory,
        settings.repository,
        BuildOptions.of(settings, available_cores()),
        names,
        check,
        skip_missing,
    )
    click.echo(report(build, settings.repository, check))


@main.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--repository", type=_FOLDER, help="The repository that is served. [env: SCHWIFT_REPOSITORY]")
@_SKIP_MISSING
def reload(names: tuple[str, ...], models: Path | None, repository: Path | None, skip_missing: bool) -> None:
    """Serve models/ as it is now, without a gap.

    Builds, and has the running server load and try what changed before anything is switched; with MODEL only these
    models. Where anything fails, what was served is served, and the exit code is not 0.
    """
    from converter.live_switch.reload_command import reload as run
    from converter.report import report
    from converter.repository.plan import BuildOptions

    settings = load_settings(model_directory=models, repository=repository)
    build = run(settings, BuildOptions.of(settings, available_cores()), names, click.echo, skip_missing)
    click.echo(report(build, settings.repository, check=False))


@main.command()
@click.argument("name", metavar="MODEL")
@click.option("--repository", type=_FOLDER, help="The repository that is served. [env: SCHWIFT_REPOSITORY]")
def rollback(name: str, repository: Path | None) -> None:
    """Serve the version of MODEL before this one, without a gap.

    Builds leave it so until the model in models/ is changed.
    """
    from converter.live_switch.reload_command import rollback as run
    from converter.report import report

    settings = load_settings(repository=repository)
    click.echo(report(run(settings, name, click.echo), settings.repository, check=False))


@main.command()
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--repository", type=_FOLDER, help="Where the repository goes. [env: SCHWIFT_REPOSITORY]")
@click.option("--host", help="The address to listen on. [env: SCHWIFT_HOST; 127.0.0.1]")
@click.option("--port", type=_PORT, help="The port to listen on; 0 takes a free one. [env: PORT; 8005]")
@click.option("--triton-http-port", type=_PORT, help="[env: SCHWIFT_TRITON_HTTP_PORT; a free one]")
@click.option("--triton-grpc-port", type=_PORT, help="[env: SCHWIFT_TRITON_GRPC_PORT; a free one]")
@click.option("--triton-metrics-port", type=_PORT, help="[env: SCHWIFT_TRITON_METRICS_PORT; a free one]")
@click.option("--tls-cert", type=_FILE, help="Serve HTTPS with this certificate chain (PEM). [env: SCHWIFT_TLS_CERT]")
@click.option("--tls-key", type=_FILE, help="The certificate's private key (PEM). [env: SCHWIFT_TLS_KEY]")
@click.option("--watch", is_flag=True, help="Reload when a file in the folder of the models changes.")
def serve(models: Path | None, watch: bool, **options: Any) -> None:
    """Build the repository, start Triton and the adapter, and serve until Ctrl-C."""
    from schwift.serve import serve as run

    sys.exit(run(load_settings(model_directory=models, **options), watch))


@main.command()
@click.option("--repository", type=_FOLDER, help="The repository to serve. [env: SCHWIFT_REPOSITORY]")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address Triton listens on.")
@click.option("--triton-http-port", type=_PORT, help="[env: SCHWIFT_TRITON_HTTP_PORT; 8000]")
@click.option("--triton-grpc-port", type=_PORT, help="[env: SCHWIFT_TRITON_GRPC_PORT; 8001]")
@click.option("--triton-metrics-port", type=_PORT, help="[env: SCHWIFT_TRITON_METRICS_PORT; 8002]")
def triton(host: str, **options: Any) -> None:
    """Start Triton alone, for an adapter in another container (python -m adapter)."""
    from schwift.triton.standalone import run_triton

    run_triton(load_settings(**options), host)


@main.command()
def doctor() -> None:
    """Say whether this machine can run Triton from the wheel, and what is to be known of it; starts no Triton."""
    from schwift.triton.installation import examine

    checks = examine()
    for check in checks:
        click.echo(f"{'FAIL' if not check.ok else 'note' if check.note else 'ok  '}  {check.what}: {check.said}")
    sys.exit(0 if all(check.ok for check in checks) else 1)
