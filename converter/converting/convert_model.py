"""One model's folder from its pickle to what is faster and answers the same; until that is proven nothing changes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converter.authoring import wrappers
from converter.authoring.fitted_model import Examined, Request, check_examined, examine_all
from converter.authoring.original import make_request, split_rows
from converter.authoring.tensor_facts import write_rows
from converter.converting.answer_gate import Comparison, compare_answers
from converter.converting.config_rewrite import rewrite
from converter.converting.exporter_python import find_exporter
from converter.environments.interpreter import Interpreter, own_interpreter
from converter.errors import ConfigError, NotConverted
from converter.inspect.discover import ModelSource, discover
from converter.inspect.inspector import ModelFacts, inspect_all
from converter.inspect.model_environments import ModelEnvironments, Say
from converter.inspect.model_folder import check_unchanged, list_files
from converter.repository.tensors import INPUT_NAME, OUTPUT_NAME, resolve
from converter.schema.config_loader import load_spec
from converter.schema.model import PICKLES, VerifySpec, nearest
from converter.schema.samples.compare import default_tolerance
from converter.schema.settings import Settings

BEFORE = ".before-convert"
_PRECISIONS = ("float32", "float64")
# What a model that runs no Python of the user's, or no pickle, has no use for.
_OF_PICKLES = ("accept_skew", "trusted", "environment")
_WRAPPERS = {
    "lightgbm": ("lightgbm_booster", "LightGBMBooster"), "xgboost": ("xgboost_booster", "XGBoostBooster"),
    "catboost": ("catboost_file", "CatBoostFile"),
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A converted model: `files` beside the config, with where they are now, and the `keys` of the config.

    A graph is worth it if it is `faster`; a library's own file because it is no pickle.
    """

    what: str
    files: dict[str, Path]
    keys: dict[str, Any]
    faster: bool = True


@dataclass(frozen=True)
class Converted:
    """What a conversion came to, in one line, and the folder."""

    folder: Path
    summary: str


def find_model(name: str, settings: Settings) -> ModelSource:
    """Find a model by its folder's name, or its own. Raises ConfigError."""
    sources = discover(settings.model_directory, settings.model_links).sources
    for source in (*(s for s in sources if s.folder.name == name), *(s for s in sources if s.spec.name == name)):
        return source
    folders = [source.folder.name for source in sources]
    raise ConfigError(
        f"{settings.model_directory}: no model {name}{nearest(name, folders)}: there are {', '.join(folders)}"
    )


def convert(name: str, target: str, settings: Settings, say: Say) -> Converted:
    """Convert a model to `onnx` or `native`. Raises ConfigError and NotConverted; then all is as it was."""
    source = find_model(name, settings)
    _check(source)
    # Beside the models, where a name with a dot is none: what is ready moves within one file system.
    with tempfile.TemporaryDirectory(prefix=f".convert-{source.folder.name}-", dir=settings.model_directory) as scratch:
        conversion = _Conversion(source, settings, say, Path(scratch))
        candidate, summary = conversion.run(target)
        check_unchanged(source.originals)
        _install(source, candidate, conversion.describe_origin())
    return Converted(source.folder, summary)


def go_back(name: str, settings: Settings) -> Path:
    """Give a model the config that it had before it was converted. Raises ConfigError."""
    source = find_model(name, settings)
    config = source.folder / Path(source.config).name
    before = config.with_name(config.name + BEFORE)
    if not before.is_file():
        raise ConfigError(f"{source.config}: there is no {before.name} beside it: the model was not converted")
    old, new = load_spec(before, source.config).model_args, source.spec.model_args
    made = [new.model_file, new.kwargs.get("file"), new.class_ and f"{new.class_.partition(':')[0]}.py"]
    os.replace(before, config)
    for file in made:
        if isinstance(file, str) and file == Path(file).name and file != old.model_file:
            (source.folder / file).unlink(missing_ok=True)
    return source.folder


def _check(source: ModelSource) -> None:
    """Raise NotConverted for a model that no conversion could keep as its clients know it."""
    spec, where = source.spec, source.config
    if spec.backend not in PICKLES:
        raise NotConverted(f"{where}: backend {spec.backend} is no pickle: there is nothing to convert")
    if len(spec.output) > 1 or len(spec.input) > 1:
        raise NotConverted(
            f"{where}: a model of several inputs or outputs is not converted: write the inputs as `columns:` of one, "
            "and convert a model of one output"
        )


class _Conversion:
    """Converts one model in a folder of its own."""

    def __init__(self, source: ModelSource, settings: Settings, say: Say, scratch: Path) -> None:
        self._settings = settings
        self._say = say
        self._scratch = scratch
        self._environments = ModelEnvironments(settings, say, write_locks=False)
        (self._source,) = self._environments.prepare((source,))
        self._facts = inspect_all((self._source,), scratch, 1, self._environments)[source.spec.name]
        environment = self._facts.environment or self._source.environment or self._environments.serving
        self._there: Interpreter = environment.interpreter
        self._is_own = environment.key is not None
        self._request = make_request(self._source, self._facts, scratch)
        self._original: Examined = {}

    def run(self, target: str) -> tuple[Candidate, str]:
        """Return what takes the pickle's place, and how it compares. Raises NotConverted."""
        self._say(f"asking {self._source.folder.name} for 10,000 rows and more")
        self._original = self._ask(
            self._there, {**self._request, "task": "answer_many", "make": True, **self._name_files("original")}
        )
        if self._original["medians"] is None:
            raise NotConverted(f"{self._source.config}: the original answers none of the rows that were made up")
        reasons: dict[str, str] = {}
        for precision in _PRECISIONS if target == "onnx" else ("native",):
            self._say(f"trying {precision}")
            try:
                candidate = self._make_native() if precision == "native" else self._make_graph(precision)
                return candidate, self._try(candidate)
            except NotConverted as error:
                reasons.setdefault(str(error), precision)
        said = "; ".join(f"{precision}: {reason}" for reason, precision in reasons.items())
        raise NotConverted(f"{self._source.config}: nothing was changed: {said}")

    def describe_origin(self) -> str:
        """Say in the config what it was."""
        spec = self._source.spec
        method = f", {self._original['method']}"
        return f"{spec.model_args.model_file} (backend {spec.backend}, {self._original['type']}{method})"

    def _ask(self, interpreter: Interpreter, request: Request) -> Examined:
        (said,) = examine_all(interpreter, [request])
        if "error" in said:
            raise NotConverted(said["error"])
        check_examined(said, self._source.config)
        return said

    def _name_files(self, who: str) -> dict[str, str]:
        return {"asked": str(self._scratch / f"{who}-rows.json"), "answered": str(self._scratch / f"{who}.json")}

    def _make_graph(self, precision: str) -> Candidate:
        exporter = find_exporter(self._there, Path(self._request["path"]), self._settings, self._say)
        spec, (first,), (output,) = self._source.spec, self._source.spec.input, self._source.spec.output
        model_file = spec.model_args.model_file or ""
        name = self._find_free(f"{Path(model_file).name.split('.')[0]}.onnx")
        path = self._scratch / f"{precision}.onnx"
        self._ask(exporter, {
            **self._request, "task": "export_graph", "precision": precision, "target": str(path),
            "input": first.name or INPUT_NAME, "output": {"name": output.name or OUTPUT_NAME, "dtype": output.dtype},
        })  # fmt: skip
        keys: dict[str, Any] = dict.fromkeys((*_OF_PICKLES, "requirements", "python"))
        what = f"a {precision} graph, {name}"
        if not spec.columns:
            return Candidate(what, {name: path}, {**keys, "backend": "onnx", "model_args": {"model_file": name}})
        # backend onnx knows no columns; a class that runs the graph does.
        serving = self._environments.serving.interpreter
        lacking = [each for each in ("onnxruntime", "pandas") if each not in serving.modules]
        keys |= {"requirements": lacking or None, "backend": "python"}
        return self._wrap(what, "onnx_file", "OnnxFile", {"file": name}, {name: path}, keys)

    def _make_native(self) -> Candidate:
        folder = self._scratch / "native"
        folder.mkdir()
        said = self._ask(self._there, {**self._request, "task": "export_native", "target": str(folder)})
        name = self._find_free(said["file"])
        keys: dict[str, Any] = {**dict.fromkeys(_OF_PICKLES), "backend": "python"}
        if self._is_own and self._source.spec.requirements is None:
            named = [said["library"], *(["pandas"] if self._source.spec.columns else [])]
            keys["requirements"] = [f"{each}=={self._there.packages[each]}" for each in named]
            keys["python"] = self._there.version
        files = {name: folder / said["file"]}
        module, kind = _WRAPPERS[said["library"]]
        what = f"{said['library']}'s own file, {name}"
        candidate = self._wrap(what, module, kind, {**said["kwargs"], "file": name}, files, keys)
        return replace(candidate, faster=False)

    def _wrap(
        self, what: str, module: str, kind: str, kwargs: dict[str, Any], files: dict[str, Path], keys: dict[str, Any]
    ) -> Candidate:
        """Add the small class that runs a file."""
        code = self._find_free(f"{module}.py")
        source = Path(wrappers.__file__).with_name(f"{module}.py")
        named = f"{Path(code).stem}:{kind}"
        return Candidate(what, {**files, code: source}, {**keys, "model_args": {"class": named, "kwargs": kwargs}})

    def _find_free(self, name: str) -> str:
        """Return a name that no file of the folder has."""
        stem, ending = name.rsplit(".", 1)
        names = [name, *(f"{stem}_{number}.{ending}" for number in range(2, 100))]
        return next(each for each in names if each not in self._source.files)

    def _try(self, candidate: Candidate) -> str:
        """Serve the candidate's folder in a draft, and compare. Raises NotConverted."""
        source, facts = self._draft(candidate)
        draft_request = make_request(source, facts, self._scratch)
        files = self._name_files("converted")
        rows = json.loads(Path(self._name_files("original")["asked"]).read_text(encoding="utf-8"))
        features = write_rows(self._request["form"], rows)
        try:
            # As its clients write them: if these are other rows now, it is another model to them.
            rows = split_rows(draft_request["form"], features)
        except (ValueError, LookupError, TypeError) as error:
            raise NotConverted("clients would have to write their rows in another way") from error
        Path(files["asked"]).write_text(json.dumps(rows), encoding="utf-8")
        environment = source.environment
        interpreter = own_interpreter() if environment is None else environment.interpreter
        said = self._ask(interpreter, {**draft_request, "task": "answer_many", "make": False, **files})
        return self._judge(candidate, said)

    def _draft(self, candidate: Candidate) -> tuple[ModelSource, ModelFacts]:
        """Write the folder as it would be, and have it looked into as by a build. Raises NotConverted."""
        draft = self._scratch / "draft" / self._source.folder.name
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, path in candidate.files.items():
            shutil.copyfile(path, draft / name)
        config = draft / Path(self._source.config).name
        config.write_text(_write_config(self._source, candidate, "a draft"), encoding="utf-8")
        requirements = self._source.spec.requirements
        if isinstance(requirements, str):
            shutil.copyfile(self._source.path_of(requirements), draft / requirements)
        try:
            spec = load_spec(config, self._source.config)
            found = list_files(draft, [draft.resolve()])
            source = ModelSource(spec, self._source.config, draft, tuple(found), found)
            (source,) = self._environments.prepare((source,))
            facts = inspect_all((source,), self._scratch, 1, self._environments)[spec.name]
            resolve(source, facts)
        except ConfigError as error:
            raise NotConverted(str(error)) from error
        return replace(source, environment=facts.environment or source.environment), facts

    def _judge(self, candidate: Candidate, said: Examined) -> str:
        """Return a line on both. Raises NotConverted."""
        spec = self._source.spec
        rules = spec.verify or VerifySpec()
        tolerance = default_tolerance(spec.output[0].dtype, rules.rtol, rules.atol)
        before, after = (
            json.loads(Path(self._name_files(who)["answered"]).read_text(encoding="utf-8"))
            for who in ("original", "converted")
        )
        scores = self._original["method"] == "decision_function"
        comparison = compare_answers(before, after, tolerance, self._original["classifies"], scores)
        if not comparison.passed:
            raise NotConverted(comparison.explain())
        old, new = self._original["medians"], said["medians"]
        if candidate.faster and all(theirs <= mine for theirs, mine in zip(old, new, strict=True)):
            raise NotConverted(f"it is not faster: {_describe_speed(old, new)}")
        trees = self._original["estimators"]
        what = f"{self._original['type']} {trees}" if trees else self._original["type"]
        return f"{what}: {_describe_speed(old, new)}, {_describe_answers(comparison)}: {candidate.what}"


def _describe_speed(old: list[float], new: list[float]) -> str:
    (old_one, old_many), (new_one, new_many) = old, new
    return f"p50 {1e3 * old_one:.2g} → {1e3 * new_one:.2g} ms, {32 / old_many:,.0f} → {32 / new_many:,.0f} rows/s"


def _describe_answers(comparison: Comparison) -> str:
    largest = f"largest difference {comparison.largest:.1g}"
    if comparison.labels:
        return f"0 of {comparison.rows:,} labels changed, {largest}"
    return f"{comparison.rows:,} rows, {largest}"


def _write_config(source: ModelSource, candidate: Candidate, origin: str) -> str:
    config = source.folder / Path(source.config).name
    head = f"Converted by `schwift convert` from {origin}.\n`schwift convert {source.folder.name} --back` undoes it."
    return rewrite(config.read_text(encoding="utf-8"), candidate.keys, head)


def _install(source: ModelSource, candidate: Candidate, origin: str) -> None:
    """Put the new files beside the old ones, then switch the config in one step: until then the folder is the old one.

    Raises ConfigError.
    """
    config = source.folder / Path(source.config).name
    try:
        text = _write_config(source, candidate, origin)
        for name, path in candidate.files.items():
            _place(path.read_bytes(), source.folder / name)
        _place(config.read_bytes(), config.with_name(config.name + BEFORE))
        _place(text.encode(), config)
    except OSError as error:
        raise ConfigError(f"{source.folder}: the model could not be written: {error.strerror}") from error


def _place(content: bytes, path: Path) -> None:
    """Write a file so that it is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".convert-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
