"""Whether a pickle may be loaded, and if not, why, and what can be done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from converter.trust.allow_list import list_refused, list_unused
from converter.trust.operator_trust import OperatorTrust
from converter.trust.own_modules import OwnModules
from converter.trust.pickle_reader import Contents

_VERBS = {"make": "makes a", "call": "calls", "fill": "fills a", "refer": "refers to", "import": "imports"}
_SAVERS = {"cloudpickle", "dill"}
# In the names of what these savers make functions and classes with.
_MAKERS = ("function", "code", "class", "type")
_MOST_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """`refused` are (module, name, use), `problems` what nothing can allow, `own` the files beside that it uses."""

    refused: tuple[tuple[str, str, str], ...]
    problems: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether loading it runs nothing but what is known."""
        return not self.refused and not self.problems


def judge(contents: Contents, trust: OperatorTrust, own: OwnModules) -> Verdict:
    """Hold what a pickle does to the lists, to what the operator allows, and to the modules beside it."""
    files: set[str] = set()
    refused = []
    unused = ((module, name, "import") for module, name in list_unused(contents.names, contents.uses))
    for module, name, use in sorted({*list_refused(contents.uses), *unused}):
        if trust.allows(module, name):
            continue
        file = own.find_file(module, name)
        if file is None:
            refused.append((module, name, use))
        else:
            files.add(file)
    return Verdict(tuple(refused), tuple(contents.problems), tuple(sorted(files)))


def explain(verdict: Verdict, contents: Contents) -> str:
    """Say why a pickle is refused, and what to do: what follows the name of the file."""
    tops = {module.split(".")[0] for module, _ in contents.names}
    saver = next(iter(sorted(tops & _SAVERS)), None)
    if saver is not None:
        trusting = "with SCHWIFT_TRUST=any, or with trusted: true in a folder that SCHWIFT_TRUST_FOLDERS names"
        if not any(word in name for module, name in contents.names for word in _MAKERS if module.startswith(saver)):
            return f"is refused: it was saved by {saver}: save the model with joblib; or let it in as it is, {trusting}"
        return (
            f"is refused: it was saved by {saver} and has functions in it as code, which names do not tell: put "
            "that code into a module beside the file and save the model with joblib, or write a Python class (backend: "
            f"python), or convert the model to ONNX; or let it in as it is, {trusting}"
        )
    return f"is refused, since loading it runs more than a model needs: {'; '.join(_list_reasons(verdict, tops))}"


def _list_reasons(verdict: Verdict, tops: set[str]) -> Iterator[str]:
    yield from verdict.problems[:_MOST_NAMED]
    named = verdict.refused[:_MOST_NAMED]
    more = len(verdict.refused) - len(named)
    if named:
        said = ", ".join(f"{_VERBS[use]} {module}.{name}" for module, name, use in named)
        yield f"it {said}{f' and {more} more' if more else ''}"
    ways = []
    unknown = [f"{module}:{name}" for module, name, _ in verdict.refused]
    standard = any(item.split(".")[0].split(":")[0] in sys.stdlib_module_names for item in unknown)
    if unknown and not verdict.problems and not standard:
        ways.append(f"if you trust them, set SCHWIFT_TRUST_IMPORTS={','.join(dict.fromkeys(unknown))}")
    if tops & {"sklearn", "lightgbm", "xgboost"}:
        ways.append("convert the model to ONNX (skl2onnx, onnxmltools)")
    ways.append("let it in as code, with SCHWIFT_TRUST=any, or with trusted: true in one of SCHWIFT_TRUST_FOLDERS")
    yield ", or ".join(ways)
