"""The commands that build: parse, call, print, exit code. schwift/cli.py adds those that serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from converter.errors import ConfigError, SchwiftError
from converter.keys.commands import keys
from converter.schema import triton_key
from converter.schema.settings import load_settings
from converter.trust.scan_command import scan
from triton_repo_template.runtime.threads import available_cores

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_SKIP_MISSING = click.option(
    "--skip-missing", is_flag=True, help="Leave out a model whose library is not installed, and say so."
)


class CommandGroup(click.Group):
    """Ends with the error's own exit code and its one sentence, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and print what goes wrong."""
        try:
            return super().invoke(ctx)
        except SchwiftError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            if isinstance(error, ConfigError):
                click.echo("Nothing was written.", err=True)
            sys.exit(error.exit_code)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="schwift")
def main() -> None:
    """Turn models into a repository for Triton.

    Settings come from the environment and from .env in the current folder; options win.
    """


main.add_command(keys)
main.add_command(scan)


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
    from converter.build import open_workspace, plan_repository
    from converter.report import report
    from converter.repository.plan import BuildOptions
    from converter.repository.writer import commit

    settings = load_settings(model_directory=models, repository=output)
    if settings.triton_key_file is not None and not check:
        # For a Triton and an adapter that share it, and may not write it (docker-compose.yml).
        triton_key.ensure(settings.triton_key_file)
    options = BuildOptions(settings, available_cores())
    with open_workspace(settings.repository, read_only=check) as old:
        plan = plan_repository(settings.model_directory, options, old, names, skip_missing)
        if not check:
            commit(plan)
    click.echo(report(plan, written=not check))
    if plan.hint is not None:
        click.echo(f"hint: {plan.hint}", err=True)


@main.command()
@click.argument("path", metavar="PATH")
@click.option("--name", help="The model's name, and its folder's. [that of the file]")
@click.option("--data", type=_FILE, help="Rows that the model takes, for its sample: .csv, .json, .npy or .parquet.")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--method", help="What to ask the model: predict, predict_proba, decision_function or transform.")
@click.option("--input-shape", "shapes", multiple=True, metavar="[INPUT=]N,…", help="The shape of one row of an input.")
@click.option("--dtype", "dtypes", multiple=True, metavar="[INPUT=]DTYPE", help="The dtype of an input.")
@click.option("--kwargs", metavar="JSON", help="The arguments of a Python class or function, by name.")
@click.option("--force", is_flag=True, help="Replace the model's folder, if there is one.")
@click.option("--reuse", is_flag=True, help="Leave the folder as it is, if it was made of the same file.")
def new(path: str, models: Path | None, **options: Any) -> None:
    """Write the folder of a model: its config, and a sample of its own answers.

    PATH is a model's file (a pickle, ONNX, TorchScript, a booster), a folder of MLflow, or a Python class or function
    as file.py:Name. The model is loaded, in the environment that serves it.
    """
    from converter.authoring.new_model import NewOptions, write_new
    from converter.build import print_progress

    settings = load_settings(model_directory=models)
    click.echo(f"wrote {write_new(path, settings, NewOptions(**options), print_progress)}")


@main.command()
@click.argument("name", metavar="MODEL")
@click.option("--to", "target", type=click.Choice(["onnx", "native"]), default="onnx", show_default=True)
@click.option("--back", is_flag=True, help="Undo: the model is served as it was before.")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--env", "model_env", type=_FOLDER, help="The environment that models run in. [env: SCHWIFT_MODEL_ENV]")
def convert(name: str, target: str, back: bool, models: Path | None, model_env: Path | None) -> None:
    """Turn a model's pickle into an ONNX graph, or into its library's own file, if it answers the same and faster.

    Nothing is changed before 10,000 rows and more had the same labels. Exit code 1 if they had not.
    """
    from converter.build import print_progress
    from converter.converting import convert_model

    settings = load_settings(model_directory=models, model_env=model_env)
    if back:
        click.echo(f"{convert_model.go_back(name, settings)}: as it was before it was converted")
        return
    done = convert_model.convert(name, target, settings, print_progress)
    click.echo(f"{done.summary}\nwrote {done.folder}")


@main.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--models", type=_FOLDER, help="The folder of the models. [env: MODEL_DIRECTORY; ./models]")
@click.option("--env", "model_env", type=_FOLDER, help="The environment that models run in. [env: SCHWIFT_MODEL_ENV]")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
def check(names: tuple[str, ...], models: Path | None, model_env: Path | None, form: str) -> None:
    """Hold models' configs against the models: tries each in its own environment, and says what is wrong.

    Starts no server and needs no network, unless a model needs an environment that is not there. Exit code 0 without
    errors, 1 with some, 2 for a config that cannot be read.
    """
    from converter.build import print_progress
    from converter.checking.command import run_check
    from converter.repository.plan import BuildOptions

    settings = load_settings(model_directory=models, model_env=model_env)
    text, code = run_check(BuildOptions(settings, available_cores()), names, form, print_progress)
    click.echo(text)
    sys.exit(code)


@main.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--models", type=_FOLDER, help="The folder of the models. [the one that is served]")
@click.option("--repository", type=_FOLDER, help="The repository that is served. [env: SCHWIFT_REPOSITORY]")
@_SKIP_MISSING
def reload(names: tuple[str, ...], models: Path | None, repository: Path | None, skip_missing: bool) -> None:
    """Serve models/ as it is now, without a gap.

    Builds, and has the running server load and try what changed before anything is switched; with MODEL only these
    models. Where anything fails, what was served is served, and the exit code is not 0.
    """
    from converter.live_switch.reload_command import follow_server
    from converter.live_switch.reload_command import reload as run
    from converter.report import report
    from converter.repository.plan import BuildOptions

    settings = load_settings(model_directory=models, repository=repository)
    settings = follow_server(settings, settings.model_directory if models else None, repository and settings.repository)
    options = BuildOptions(settings, available_cores())
    click.echo(report(run(options, names, click.echo, skip_missing)))


@main.command()
@click.argument("name", metavar="MODEL")
@click.option("--repository", type=_FOLDER, help="The repository that is served. [env: SCHWIFT_REPOSITORY]")
def rollback(name: str, repository: Path | None) -> None:
    """Serve the version of MODEL before this one, without a gap.

    Builds leave it so until the model in models/ is changed.
    """
    from converter.live_switch.reload_command import follow_server
    from converter.live_switch.reload_command import rollback as run
    from converter.report import report

    settings = load_settings(repository=repository)
    settings = follow_server(settings, repository=repository and settings.repository)
    click.echo(report(run(settings, name, click.echo)))
