"""Whether a model's pickle may be built: by the lists, by the modules beside it, and by what the operator says."""

from __future__ import annotations

from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.trust.operator_trust import OperatorTrust
from converter.trust.own_modules import OwnModules
from converter.trust.pickle_reader import Contents
from converter.trust.verdict import explain, judge


def is_trusted(source: ModelSource) -> bool:
    """Tell whether the operator lets a model's files be any code."""
    return source.trust.covers(source.folder, source.spec.trusted)


def check_trust(source: ModelSource, contents: Contents) -> tuple[str, ...]:
    """Return notes on the code beside a pickle. Raises ArtifactError if loading the pickle may run anything else."""
    name = source.spec.model_args.model_file
    if is_trusted(source):
        return ()
    installed = source.environment.interpreter.modules if source.environment else frozenset()
    files = {file: source.path_of(file) for file in source.files if file.endswith(".py")}
    own = OwnModules(files, f"{source.models_name}.{source.folder.name}", installed)
    verdict = judge(contents, source.trust, own)
    if not verdict.allowed:
        raise ArtifactError(f"{source.config}: {name} {explain(verdict, contents)}")
    return tuple(f"{source.config}: {name} runs code of {file}, beside it: read it" for file in verdict.own)


def find_own_code(source: ModelSource, contents: Contents) -> str | None:
    """Say what a pickle runs that is not of a known library, whatever the operator says of it; None if nothing."""
    if source.spec.trusted:
        return "trusted: true lets any code in"
    verdict = judge(contents, OperatorTrust(), OwnModules({}))
    if verdict.allowed:
        return None
    named = [f"{module}.{name}" for module, name, _ in verdict.refused] + list(verdict.problems)
    return f"its pickle runs more than known libraries: {named[0]}"
