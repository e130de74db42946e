"""The command `schwift`: what serves, beside the converter's commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from converter import cli as converter_cli
from converter.schema.settings import load_settings

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)
_MOST_CONNECTIONS, _MOST_A_SECOND = 10_000, 1_000_000
_ENDPOINTS = click.Choice(["predict", "predict_batched", "v2"])


def _numbers(
    kind: type[int] | type[float], most: int, remedy: str
) -> Callable[[click.Context, click.Parameter, str | None], tuple[Any, ...]]:
    """Return what reads an option with positive numbers, of at most `most`, and commas between them."""

    def read(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[Any, ...]:
        if value is None:
            return ()
        try:
            numbers = tuple(kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number <= most for number in numbers):
            raise click.BadParameter(f"{value!r} is no list of {remedy}", ctx, parameter)
        return numbers

    return read


@click.group(cls=converter_cli.CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="schwift")
def main() -> None:
    """Simple model serving for lite ML models on CPUs.

    Settings come from the environment and from .env in the current folder; options win.
    """


for _command in converter_cli.main.commands.values():
    main.add_command(_command)


@main.command()
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--name", help="The name of the model in PATH. [that of the file]")
@click.option("--data", type=_FILE, help="Rows that the model in PATH takes, for its sample.")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--repository", type=_FOLDER, help="Where the repository goes. [env: SCHWIFT_REPOSITORY]")
@click.option(
    "--env",
    "model_env",
    type=_FOLDER,
    help="The venv or conda environment that models run in. [env: SCHWIFT_MODEL_ENV; schwift's own]",
)
@click.option("--host", help="The address to listen on. [env: SCHWIFT_HOST; 127.0.0.1]")
@click.option("--port", type=_PORT, help="The port to listen on; 0 takes a free one. [env: PORT; 8005]")
@click.option("--triton-http-port", type=_PORT, help="[env: SCHWIFT_TRITON_HTTP_PORT; a free one]")
@click.option("--triton-grpc-port", type=_PORT, help="[env: SCHWIFT_TRITON_GRPC_PORT; a free one]")
@click.option("--triton-metrics-port", type=_PORT, help="[env: SCHWIFT_TRITON_METRICS_PORT; a free one]")
@click.option("--tls-cert", type=_FILE, help="Serve HTTPS with this certificate chain (PEM). [env: SCHWIFT_TLS_CERT]")
@click.option("--tls-key", type=_FILE, help="The certificate's private key (PEM). [env: SCHWIFT_TLS_KEY]")
@click.option("--watch", is_flag=True, help="Reload when a file in the folder of the models changes.")
def serve(
    path: str | None, name: str | None, data: Path | None, models: Path | None, watch: bool, **options: Any
) -> None:
    """Build the repository, start Triton and the adapter, and serve until Ctrl-C.

    With PATH, a model's file, its folder is written first, as `schwift new` does.
    """
    from schwift.commands.model_file import write_folder
    from schwift.serve import serve as run

    settings = load_settings(model_directory=models, **options)
    if path is None and (name or data):
        raise click.UsageError("--name and --data are for the model that PATH names")
    if path is not None and (code := write_folder(path, settings, name, data)) != 0:
        sys.exit(code)
    sys.exit(run(settings, watch))


@main.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--env", "model_env", type=_FOLDER, help="The environment that models run in. [env: SCHWIFT_MODEL_ENV]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def verify(names: tuple[str, ...], models: Path | None, model_env: Path | None, form: str) -> None:
    """Compare what is served with the models' own answers, on their samples and on rows at edges.

    Builds into a temporary folder and starts a server of its own, on free ports. The exit code is 1 if an answer
    differs.
    """
    from schwift.commands.verify import verify_models

    sys.exit(verify_models(load_settings(model_directory=models, model_env=model_env), names, form))


@main.command()
@click.argument("url", metavar="[URL]", required=False)
@click.option("--key-file", type=_FILE, help="A file that holds a key, for a server that asks for one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in bytes.")
def memory(url: str | None, key_file: Path | None, as_json: bool) -> None:
    """Show how much memory each model of a running server holds, and the process that it is in.

    Without URL, the server is asked that `schwift serve` starts in this folder.
    """
    from schwift.commands.model_memory import show_memory

    click.echo(show_memory(load_settings(), url, key_file, as_json))


@main.command()
@click.argument("url", metavar="[URL]", required=False)
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--endpoint", type=_ENDPOINTS, default="predict", show_default=True)
@click.option("--rows", type=click.IntRange(1), default=1, show_default=True, help="Rows of each request.")
@click.option("--data", type=_FILE, help="A body as JSON, one a line, or a list of rows. [the server's example]")
@click.option("--connections", type=click.IntRange(1, _MOST_CONNECTIONS), help="[16; with --rate at most 1000]")
@click.option(
    "--ramp",
    metavar="N,…",
    callback=_numbers(int, _MOST_CONNECTIONS, f"connections from 1 to {_MOST_CONNECTIONS:,}: write 1,4,16"),
    help="Connections of each step: 1,4,16,64.",
)
@click.option(
    "--rate",
    "rates",
    metavar="R,…",
    callback=_numbers(float, _MOST_A_SECOND, f"rates over 0 and up to {_MOST_A_SECOND:,}: write 100,200"),
    help="Requests due a second, of each step.",
)
@click.option("--poisson", is_flag=True, help="With --rate, requests are due at random and not evenly.")
@click.option("--duration", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds of each step.")
@click.option("--warmup", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds before each step.")
@click.option("--timeout", type=click.FloatRange(0.01), default=30.0, show_default=True, help="Seconds of a request.")
@click.option("--max-p99", "most_p99_ms", type=click.FloatRange(0), help="The bound of a ramp's p99, in ms.")
@click.option("--check", is_flag=True, help="Compare each answer with the first one to the same request.")
@click.option("--key-file", type=_FILE, help="A file that holds a key, for a server that asks for one.")
@click.option("--json", "json_file", type=_FILE, help="Write all that was measured to this file.")
@click.option("--png", "png_file", type=_FILE, help="Draw it into this file; needs matplotlib (schwift[plot]).")
@click.option("--compare", nargs=2, type=_FILE, metavar="A B", help="Compare two files of --json, and ask no server.")
def bench(
    url: str | None,
    names: tuple[str, ...],
    key_file: Path | None,
    json_file: Path | None,
    png_file: Path | None,
    compare: tuple[Path, Path] | None,
    **options: Any,
) -> None:
    """Put models of a running server under load, and show throughput and latency.

    Without MODEL, all models that it serves take turns. The exit code is 1 if a request got no good answer.
    """
    from schwift.commands.bench import BenchOptions, open_server, run_bench, show_comparison

    if compare is not None:
        if url is not None:
            raise click.UsageError("--compare reads two files and asks no server: leave out URL")
        if json_file is not None or png_file is not None:
            raise click.UsageError("--compare prints and writes no file: leave out --json and --png")
        show_comparison(*compare)
        return
    server = open_server(load_settings(), url, key_file)
    sys.exit(run_bench(server, names, BenchOptions(**options), {"json": json_file, "png": png_file}))


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


@main.group()
def env() -> None:
    """Make, list and remove the environments that models have of their own."""


@env.command("build")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
def env_build(models: Path | None) -> None:
    """Make every environment that the models need, and write nothing else."""
    from schwift.commands.environment_commands import build_environments

    click.echo(build_environments(load_settings(model_directory=models)))


@env.command("list")
@click.option("--repository", type=_FOLDER, help="The repository whose models are named. [env: SCHWIFT_REPOSITORY]")
def env_list(repository: Path | None) -> None:
    """List the environments that are there, and which models of the repository use them."""
    from schwift.commands.environment_commands import list_environments

    click.echo(list_environments(load_settings(repository=repository)))


@env.command("prune")
@click.option(
    "--repository",
    "repositories",
    type=_FOLDER,
    multiple=True,
    help="A repository whose environments are kept; may be repeated. [env: SCHWIFT_REPOSITORY]",
)
def env_prune(repositories: tuple[Path, ...]) -> None:
    """Remove the environments that no version of a model uses."""
    from schwift.commands.environment_commands import prune_environments

    click.echo(prune_environments(load_settings(), repositories))


@main.command()
def doctor() -> None:
    """Say whether this machine can run Triton from the wheel, and what is to be known of it; starts no Triton."""
    from schwift.triton.installation import examine

    checks = examine(load_settings())
    for check in checks:
        click.echo(f"{'FAIL' if not check.ok else 'note' if check.note else 'ok  '}  {check.what}: {check.said}")
    sys.exit(0 if all(check.ok for check in checks) else 1)


@main.group(cls=converter_cli.CommandGroup)
def engine() -> None:
    """Install, show or remove Triton's binaries, which `schwift serve` installs by itself.

    They are kept in ~/.cache/schwift (SCHWIFT_CACHE). SCHWIFT_ENGINE names another folder that has a Triton.
    """


@engine.command()
@click.option("--wheel", type=_FILE, help="The downloaded wheel, for a machine without a network.")
def install(wheel: Path | None) -> None:
    """Install Triton's binaries into the cache, from a wheel that pip downloads."""
    from schwift.commands.engine_commands import install_engine

    install_engine(load_settings(), wheel)


@engine.command()
def show() -> None:
    """Show Triton's version, folder and size, and the Pythons that models can run in; exit code 1 if there is none."""
    from schwift.commands.engine_commands import show_engine

    sys.exit(show_engine(load_settings()))


@engine.command()
def remove() -> None:
    """Remove Triton's binaries from the cache."""
    from schwift.commands.engine_commands import remove_engine

    remove_engine(load_settings())
