"""models/ → sources: which folders are models, their specs, and every file that goes along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converter.environments.model_environment import ModelEnvironment
from converter.errors import ConfigError
from converter.inspect.model_folder import LEFT_OUT, SourceFile, list_files
from converter.schema.config_loader import load_spec
from converter.schema.manifest import DIRECT_SUFFIX, FILENAME
from converter.schema.model import ModelSpec, nearest
from converter.trust.operator_trust import OperatorTrust

CONFIG_NAME = "model_config.yaml"

# A model's folder and its files → its spec; None if that is to be read.
RecallSpec = Callable[[Path, Mapping[str, SourceFile]], ModelSpec | None]


@dataclass(frozen=True)
class ModelSource:
    """A model's folder: `config` is the YAML's path as users see it, `files` are relative to it and sorted.

    `originals` are the files as they were found, where links end. `environment` is where the model runs, as far as its
    config alone says. `trust` is what the operator says of pickles.
    """

    spec: ModelSpec
    config: str
    folder: Path
    files: tuple[str, ...]
    originals: Mapping[str, SourceFile] = field(default_factory=dict, compare=False)
    environment: ModelEnvironment | None = field(default=None, compare=False)
    trust: OperatorTrust = field(default=OperatorTrust(), compare=False)

    def path_of(self, name: str) -> Path:
        """Return where a file of the model really is, links followed."""
        original = self.originals.get(name)
        return (self.folder / name).resolve() if original is None else original.path

    @property
    def models_name(self) -> str:
        """The name of the folder that holds this one, as in `models.iris.model:Class`."""
        return self.folder.parent.name


@dataclass(frozen=True)
class Discovery:
    """All models, by name, and the folders that hold none."""

    sources: tuple[ModelSource, ...]
    passed_over: tuple[str, ...]


def discover(
    models: Path, links: Path | None = None, recall: RecallSpec | None = None, problems: list[str] | None = None
) -> Discovery:
    """Read every `models/<folder>/*.yaml`; links may end there and in `links`. Raises ConfigError with all problems.

    `recall` knows the specs of folders that are as they were. With `problems`, those of single models go there.
    """
    if not models.is_dir():
        raise ConfigError(f"{models}: no such folder: name the folder that holds the models with --models")
    tolerant, problems = problems is not None, [] if problems is None else problems
    allowed = [folder.resolve() for folder in (models, links) if folder is not None]
    sources: list[ModelSource] = []
    passed_over: list[str] = []
    for folder in sorted(path for path in models.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or folder.name in LEFT_OUT:
            continue
        try:
            config = _find_config(folder)
            if config is None:
                yml = " (a .yml does not count: rename it)" if list(folder.glob("*.yml")) else ""
                passed_over.append(f"{models.name}/{folder.name}: no .yaml file, so not a model{yml}")
                continue
            shown = f"{models.name}/{folder.name}/{config.name}"
            found = list_files(folder, allowed)
            spec = recall(folder, found) if recall is not None else None
            sources.append(ModelSource(spec or load_spec(config, shown), shown, folder, tuple(found), found))
        except ConfigError as error:
            problems.extend(error.problems)
    problems.extend(_find_name_problems(sources))
    if problems and not tolerant:
        raise ConfigError(problems)
    if not sources and not problems:
        raise ConfigError(
            f"{models}: no model here: put a model's file and its {CONFIG_NAME} into {models.name}/<model_name>/"
        )
    return Discovery(tuple(sorted(sources, key=lambda source: source.spec.name)), tuple(passed_over))


def check_names(wanted: Sequence[str], discovery: Discovery) -> None:
    """Raise ConfigError for each name that no model has."""
    known = [source.spec.name for source in discovery.sources]
    problems = [
        f"--model {name}: no model has this name{nearest(name, known)}: there are {', '.join(known)}"
        for name in wanted
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)


def _find_config(folder: Path) -> Path | None:
    documented = folder / CONFIG_NAME
    if documented.is_file():
        return documented
    found = sorted(path for path in folder.iterdir() if path.suffix == ".yaml" and path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ConfigError(
            f"{folder.parent.name}/{folder.name}: several .yaml files ({names}): call the model's {CONFIG_NAME}"
        )
    return found[0] if found else None


def _find_name_problems(sources: Sequence[ModelSource]) -> list[str]:
    """Find two sources of one name, and a name that another source's second Triton model takes."""
    problems: list[str] = []
    owners: dict[str, ModelSource] = {}
    for source in sources:
        if source.spec.name == FILENAME:
            problems.append(f"{source.config}: model.name: {FILENAME} is a file of the repository: rename the model")
        first = owners.setdefault(source.spec.name, source)
        if first is not source:
            problems.append(
                f"{source.config}: model.name: {source.spec.name} is also the name in {first.config}: rename one"
            )
    for name, source in owners.items():
        other = owners.get(name + DIRECT_SUFFIX)
        if other is not None:
            problems.append(
                f"{other.config}: model.name: {other.spec.name} is what the model of {source.config} is called "
                f"inside Triton: rename one"
            )
    return problems
