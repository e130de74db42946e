"""`schwift new`: an artefact → a model's folder, with its config and a sample of its own answers."""

from __future__ import annotations

import filecmp
import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converter.authoring.artifacts import Artifact, recognize
from converter.authoring.code_inside import check_folder, choose_trusted_types
from converter.authoring.described_config import ConfigDraft, write_text
from converter.authoring.fitted_model import Examined, check_examined, examine_all
from converter.authoring.input_options import read_dtypes, read_form, read_shapes
from converter.authoring.layout import Layout, add_kwargs, lay_out
from converter.authoring.tensor_facts import (
    choose_graph_outputs,
    choose_tolerance,
    describe_inputs,
    describe_outputs,
    find_graph_form,
    format_graph_shape,
    write_answers,
    write_rows,
)
from converter.environments.interpreter import Interpreter, own_interpreter
from converter.errors import ArtifactError, ConfigError
from converter.inspect.discover import CONFIG_NAME, ModelSource
from converter.inspect.inspector import ModelFacts, inspect_all
from converter.inspect.model_environments import ModelEnvironments, Say
from converter.inspect.model_folder import list_files
from converter.inspect.pickle_versions import PACKAGES, UnknownPackage, name_requirements
from converter.inspect.requirements import list_own_modules
from converter.reference.config_schema import make_schema
from converter.repository.tensors import resolve
from converter.schema.config_loader import load_spec
from converter.schema.model import PICKLES, ModelSpec
from converter.schema.requirement import name_of
from converter.schema.samples.sample_file import MOST_SAMPLE_BYTES, SAMPLE_NAME
from converter.schema.settings import Settings
from converter.trust import pickle_reader
from converter.trust.operator_trust import read_trust

_REQUIREMENTS = "requirements.txt"
# Beside the models' folders, for editors: the comment in a config that names it is read by yaml-language-server.
SCHEMA_NAME = ".model_config.schema.json"
# Until more is known: what a source needs to be inspected.
_ANY_TENSOR = {"shape": [-1, 1], "dtype": "float64"}


@dataclass(frozen=True)
class NewOptions:
    """What the user says beyond the path; `reuse` leaves a folder that was made of the same file as it is."""

    name: str | None = None
    data: Path | None = None
    method: str | None = None
    shapes: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    kwargs: str | None = None
    force: bool = False
    reuse: bool = False


def write_new(path: str, settings: Settings, options: NewOptions, say: Say) -> Path:
    """Write `models/<name>/` from a model, and return the folder. Raises ConfigError; then nothing is written."""
    artifact = recognize(path)
    name = options.name or artifact.suggest_name()
    folder = settings.model_directory / name
    if folder.exists() and not options.force:
        if options.reuse and _is_made_of(folder, artifact):
            say(f"{folder}: made of {artifact.shown} already")
            return folder
        raise ConfigError(
            f"{folder}: there is such a folder already: name another with --name, or replace it with --force"
        )
    made = not settings.model_directory.exists()
    settings.model_directory.mkdir(parents=True, exist_ok=True)
    try:
        # Beside the models, where a name with a dot is none.
        with tempfile.TemporaryDirectory(prefix=f".new-{name}-", dir=settings.model_directory) as scratch:
            draft = Path(scratch, name)
            draft.mkdir()
            _Author(artifact, draft, settings, options, say).write()
            if folder.exists():
                folder.rename(Path(scratch, "replaced"))
            draft.rename(folder)
        _write_schema(settings.model_directory / SCHEMA_NAME)
    finally:
        if made and not any(settings.model_directory.iterdir()):
            settings.model_directory.rmdir()
    return folder


def _write_schema(file: Path) -> None:
    """Write the JSON Schema of configs, unless it is there as this version has it."""
    text = json.dumps(make_schema(), indent=1) + "\n"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def _is_made_of(folder: Path, artifact: Artifact) -> bool:
    """Tell whether a model's folder has the file, or the files, of an artefact."""
    if not (folder / CONFIG_NAME).is_file():
        return False
    if artifact.path.is_file():
        candidates = [file for file in folder.iterdir() if file.is_file()]
        return any(filecmp.cmp(artifact.path, file, shallow=False) for file in candidates)
    mine = {file.name: file for file in folder.rglob("*") if file.is_file()}
    theirs = [file for file in artifact.path.iterdir() if file.is_file() and file.name in mine]
    return bool(theirs) and all(filecmp.cmp(file, mine[file.name], shallow=False) for file in theirs)


class _Author:
    """Writes one model's folder."""

    def __init__(self, artifact: Artifact, folder: Path, settings: Settings, options: NewOptions, say: Say) -> None:
        self._artifact = artifact
        self._folder = folder
        self._options = options
        self._settings = settings
        self._trusted = False
        self._say = say
        self._environments = ModelEnvironments(settings, say)

    def write(self) -> None:
        layout = lay_out(self._artifact, self._folder)
        self._check_code(layout)
        if self._options.kwargs is not None:
            add_kwargs(layout, self._options.kwargs)
        requirements = self._find_requirements(layout)
        source, facts = self._inspect(layout, requirements)
        said = self._examine(layout, source, facts)
        if "missing" in said and said["missing"] in PACKAGES and not requirements:
            # What only asking the model showed: a pickle fitted with names needs pandas, and does not name it.
            requirements = self._name_requirements(layout, source, said["missing"])
            source, facts = self._inspect(layout, requirements)
            said = self._examine(layout, source, facts)
        check_examined(said, self._artifact.shown)
        self._write_config(layout, said, facts, requirements)
        self._write_sample(said)
        spec = load_spec(self._folder / CONFIG_NAME, f"{self._folder.name}/{CONFIG_NAME}")
        resolve(replace(source, spec=spec), facts)

    def _check_code(self, layout: Layout) -> None:
        """Let in what the operator lets in, where the build does not look; pickles it looks into itself."""
        kwargs = layout.args.get("kwargs", {})
        if "folder" in kwargs and self._artifact.kind == "mlflow":
            check_folder(self._artifact.path, self._settings)
        if layout.trusted:
            kwargs["trusted"] = choose_trusted_types(layout.trusted, self._settings)

    def _find_requirements(self, layout: Layout) -> tuple[str, ...]:
        """Find what the model needs that the serving environment lacks."""
        serving = self._environments.serving.interpreter
        if layout.requirements and not _has_all(serving, layout.requirements):
            return layout.requirements
        lacking = [name for name in layout.libraries if name not in serving.modules and name != "torch"]
        if lacking:
            return tuple(PACKAGES.get(name, name) for name in lacking)
        return ()

    def _inspect(self, layout: Layout, requirements: tuple[str, ...]) -> tuple[ModelSource, ModelFacts]:
        """Look into the files as a build does, and find where the model runs; `trusted` if nothing else lets it in."""
        try:
            return self._inspect_as(layout, requirements)
        except ArtifactError:
            if self._trusted or not read_trust(self._settings).covers(self._folder, trusted=True):
                raise
        self._trusted = True
        return self._inspect_as(layout, requirements)

    def _inspect_as(self, layout: Layout, requirements: tuple[str, ...]) -> tuple[ModelSource, ModelFacts]:
        if requirements:
            (self._folder / _REQUIREMENTS).write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        spec = ModelSpec.model_validate(
            {
                "name": self._folder.name,
                "backend": layout.backend,
                "model_args": layout.args,
                "input": self._first_tensor(),
                "output": _ANY_TENSOR,
                "trusted": self._trusted,
                **({"requirements": _REQUIREMENTS} if requirements else {}),
            }
        )
        found = list_files(self._folder, [self._folder.resolve()])
        shown = f"{self._folder.name}/{CONFIG_NAME}"
        source = ModelSource(spec, shown, self._folder, tuple(found), found)
        (source,) = self._environments.prepare((source,))
        scratch = self._folder.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        facts = inspect_all((source,), scratch, 1, self._environments)[spec.name]
        for note in facts.notes:
            self._say(f"note: {note}")
        return source, facts

    def _first_tensor(self) -> dict[str, Any]:
        """Return the input that an eager torch module is traced with."""
        sizes = next(iter(read_shapes(self._options.shapes).values()), None)
        if sizes is None:
            return _ANY_TENSOR
        return {"shape": [-1, *sizes], "dtype": next(iter(read_dtypes(self._options.dtypes).values()), "float32")}

    def _examine(self, layout: Layout, source: ModelSource, facts: ModelFacts) -> Examined:
        """Ask the model what it is, in its own Python."""
        environment = facts.environment or source.environment
        interpreter = own_interpreter() if layout.backend == "onnx" or environment is None else environment.interpreter
        form = read_form(self._options.shapes, self._options.dtypes, layout.backend) or layout.form
        if layout.backend == "onnx":
            sizes, types = read_shapes(self._options.shapes), read_dtypes(self._options.dtypes)
            form = find_graph_form(facts.inputs, sizes, types, self._artifact.shown)
        request = {
            **layout.request,
            "method": self._options.method or layout.method,
            "form": form,
            "data": str(self._options.data.absolute()) if self._options.data else None,
            "example": str(layout.example) if layout.example else None,
        }
        if facts.compiled is not None:
            request["path"] = str(facts.compiled)
        (said,) = examine_all(interpreter, [request])
        return said

    def _name_requirements(self, layout: Layout, source: ModelSource, missing: str) -> tuple[str, ...]:
        """Name what the model needs beside a library that is not there: what it was made with, or what is here."""
        lines = [PACKAGES[missing]]
        if layout.backend in PICKLES:
            contents = pickle_reader.read(source.path_of(layout.args["model_file"]))
            try:
                lines += name_requirements(contents, list_own_modules(source))
            except UnknownPackage as error:
                raise ConfigError(
                    f"{self._artifact.shown}: the model needs {missing}, which is not installed, and {error}, whose "
                    "package is not known: install both where models run (schwift serve --env)"
                ) from error
        else:
            here = self._environments.serving.interpreter.packages
            wanted = [PACKAGES.get(name, name) for name in (*layout.libraries, "sklearn")]
            lines += [f"{name}=={here[name]}" for name in wanted if name in here]
        return tuple(dict.fromkeys(lines))

    def _write_config(self, layout: Layout, said: Examined, facts: ModelFacts, requirements: tuple[str, ...]) -> None:
        about, args, outputs = said["facts"], dict(layout.args), said["outputs"]
        comments = {"name": "what clients use", "model_file": f"copied from {self._artifact.path.name}"}
        if layout.backend in PICKLES:
            args["method"] = said["method"]
            comments["method"] = f"of {', '.join(about['methods'])}"
        elif layout.request.get("class", "").endswith(":SkopsFile"):
            args["kwargs"] = {**args["kwargs"], "method": said["method"]}
        if layout.backend == "onnx":
            outputs = self._choose_outputs(said, facts)
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        classes = about["classes"] if said["method"] == "predict_proba" and len(outputs) == 1 else None
        draft = ConfigDraft(
            name=self._folder.name,
            backend=layout.backend,
            origin=layout.origin if layout.backend == "onnx" else f"{layout.origin}: {about['module']}.{about['type']}",
            args=args,
            inputs=describe_inputs(said["form"], about),
            outputs=describe_outputs(outputs, said["method"], len(said["rows"])),
            requirements=_REQUIREMENTS if requirements else None,
            trusted=self._trusted,
            classes=classes if classes and outputs[0]["shape"] == [len(classes)] else None,
            verify=choose_tolerance(outputs, said["spread"]),
            comments={
                **comments,
                "requirements": "which the serving environment lacks",
                "verify": f"rows alone and together: {said['spread']:.1g} apart, as in float32",
            },
        )
        schema = f"yaml-language-server: $schema=../{SCHEMA_NAME}"
        head = f"Written by `schwift new` from {self._artifact.shown} ({versions}): change what you like."
        (self._folder / CONFIG_NAME).write_text(write_text(draft, schema, head), encoding="utf-8")

    def _choose_outputs(self, said: Examined, facts: ModelFacts) -> list[dict[str, Any]]:
        """Keep the outputs of a graph that are served, and say where they come from."""
        chosen = {item.name: item for item in choose_graph_outputs(facts.outputs, self._artifact.shown)}
        for item in facts.outputs:
            if item.type.startswith("seq(map("):
                self._say(
                    f"note: {self._folder.name}: output {item.name} is a list of mappings and is left out: convert the "
                    "model with options={'zipmap': False} to have it as an array"
                )
        said["outputs"] = [
            {**item, "from": f"ONNX output: {item['name']} {item['dtype']}{format_graph_shape(chosen[item['name']])}"}
            for item in said["outputs"]
            if item["name"] in chosen
        ]
        outputs: list[dict[str, Any]] = said["outputs"]
        return outputs

    def _write_sample(self, said: Examined) -> None:
        """Write as many rows as a sample may have."""
        data = self._options.data
        made = f"rows of {data.name}" if data else "rows made up within what the model tells"
        versions = ", ".join(f"{name} {version}" for name, version in said["facts"]["versions"].items())
        by = f"schwift {importlib.metadata.version('schwift')} from {self._artifact.shown}: {made}; {versions}"
        for count in (len(said["rows"]), 8, 1):
            outputs = [{**item, "values": item["values"][:count]} for item in said["outputs"]]
            sample = {
                "features": write_rows(said["form"], said["rows"][:count]),
                "predictions": write_answers(outputs),
                "made_by": by,
            }
            text = json.dumps(sample, ensure_ascii=False)
            if len(text.encode()) <= MOST_SAMPLE_BYTES:
                (self._folder / SAMPLE_NAME).write_text(text + "\n", encoding="utf-8")
                break
        else:
            self._say(f"note: {self._folder.name}: one row is over {MOST_SAMPLE_BYTES} bytes: no sample was written")
        if said["labels"] == 1:
            self._say(f"note: {self._folder.name}: all rows of the sample are of one class: give others with --data")
        if said["unlike"]:
            self._say(
                f"note: {self._folder.name}: --data: {said['unlike']}: if a scaler or another step came before the "
                "model when it was fitted, save both as one Pipeline"
            )
        if said["generated"]:
            self._say(
                f"note: {self._folder.name}: its {len(said['rows'])} sample rows are made up; --data gives real ones"
            )


def _has_all(interpreter: Interpreter, requirements: Sequence[str]) -> bool:
    """Tell whether an environment has what requirements name, in whatever version."""
    packages = {*interpreter.packages, *(PACKAGES.get(name, name) for name in interpreter.modules)}
    return all(name_of(line) in packages for line in requirements)
