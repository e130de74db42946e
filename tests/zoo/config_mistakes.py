"""Mistakes in the text of a config: YAML, keys, values, nesting."""

from __future__ import annotations

from tests.zoo.mistake import CONFIG, Change, Draft, Mistake, edit, put
from tests.zoo.right_models import array

INPUT = f"  input: {array(4)}\n"


def _move_input(draft: Draft) -> None:
    draft.edit(INPUT, "")
    draft.edit("model_file: model.joblib", f"model_file: model.joblib\n  {INPUT.rstrip()}")


def _leave_out_model(draft: Draft) -> None:
    text = (draft.folder / CONFIG).read_text().removeprefix("model:\n")
    draft.put(CONFIG, "".join(line.removeprefix("  ") + "\n" for line in text.splitlines()))


def _name_with(ending: str) -> Change:
    return lambda draft: (draft.folder / CONFIG).rename(draft.folder / f"model_config.{ending}")


MISTAKES = [
    Mistake("typo in input", "flowers", edit("  input:", "  inptu:"), "did you mean input"),
    Mistake("typo in model_args", "flowers", edit("model_args:", "model_agrs:"), "did you mean model_args"),
    Mistake("typo in shape", "flowers", edit("shape: [-1, 4]", "shpae: [-1, 4]"), "did you mean shape"),
    Mistake("typo in model_file", "flowers", edit("model_file:", "modelfile:"), "did you mean model_file"),
    Mistake("typo in a dtype", "flowers", edit("float64", "flaot64"), "did you mean float64"),
    Mistake("typo in the backend", "flowers", edit("backend: sklearn", "backend: scikit-learn"), "sklearn"),
    Mistake("no key model", "flowers", _leave_out_model, "model"),
    Mistake("input in model_args", "flowers", _move_input, "input"),
    Mistake("a tab in the YAML", "flowers", edit("    model_file", "\tmodel_file"), "spaces"),
    Mistake("a bracket left open", "flowers", edit("shape: [-1, 4]", "shape: [-1, 4"), "close the bracket"),
    Mistake("a key twice", "flowers", edit("  backend: sklearn\n", "  backend: sklearn\n" * 2), "keep one"),
    Mistake("no space after a colon", "flowers", edit("backend: sklearn", "backend:sklearn"), "a colon and a space"),
    Mistake("no output", "flowers", edit(f"  output: {array(3)}\n", ""), "output: this key is missing"),
    Mistake("no name", "flowers", edit("  name: NAME\n", ""), "name: this key is missing"),
    Mistake("an empty config", "flowers", put(CONFIG, ""), "needs the key model"),
    Mistake("two models in a file", "flowers", lambda draft: draft.put(CONFIG, "model: {}\n---\nmodel: {}\n"),
            "a folder of its own"),
    Mistake("a name with a slash", "flowers", edit("name: NAME", "name: team/NAME"), "letters, digits"),
    Mistake("a name with spaces", "flowers", edit("name: NAME", "name: my NAME"), "letters, digits"),
    Mistake("a config that ends in .yml", "flowers", _name_with("yml"), r"\.yaml"),
    Mistake("a config in JSON's ending", "flowers", _name_with("json"), r"\.yaml"),
    Mistake("a delay with its unit", "flowers", edit("delay_ms: 10", "delay_ms: 10ms"), "number"),
    Mistake("a batch size of 0", "flowers", edit("[16, 32]", "[0, 32]"), "greater|at least|1"),
    Mistake("batch sizes as a text", "flowers", edit("[16, 32]", '"16, 32"'), "list"),
    Mistake("no instances", "flowers", edit("  backend: sklearn", "  instances: 0\n  backend: sklearn"), "1|auto"),
    Mistake("a shape without its rows", "flowers", edit("[-1, 4]", "[4]"), r"-1"),
    Mistake("a shape that is turned round", "flowers", edit("[-1, 4]", "[4, -1]"), r"-1"),
    Mistake("a shape as a text", "flowers", edit("[-1, 4]", '"-1, 4"'), "list"),
    Mistake("a file by its whole path", "flowers", edit("model.joblib", "/models/model.joblib"),
            "relative path inside the model's own folder"),
    Mistake("a file that is elsewhere", "flowers", edit("model.joblib", "../model.joblib"),
            "relative path inside the model's own folder"),
    Mistake("a typo in the file's name", "flowers", edit("model.joblib", "modle.joblib"), "did you mean model.joblib"),
    Mistake("a file of another ending", "flowers", edit("model.joblib", "model.pkl"), "did you mean model.joblib"),
    Mistake("a typo in the method", "flowers", edit("model.joblib", "model.joblib\n    method: predict_probas"),
            "predict_proba"),
    Mistake("requirements that are not there", "flowers", edit("  backend", "  requirements: reqs.txt\n  backend"),
            "beside|no such|reqs.txt"),
    Mistake("a Python that is too old", "flowers", edit("  backend", '  python: "2.7"\n  backend'), r"3\.10"),
]  # fmt: skip
