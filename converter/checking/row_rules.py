"""What a model does with rows: whether it takes them, answers finitely, each for itself, and as its sample says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.checking.findings import Finding, Severity
from converter.checking.output_rules import pick_outputs
from converter.checking.subject import Subject
from converter.schema.model import PICKLES, VerifySpec
from converter.schema.samples.compare import compare_rows, default_tolerance

# What no value of a row explains.
_READ_TEXTS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")
_NO_NUMBER = "could not convert string to float"
_OF_NO_VALUE = ("NotFittedError", "AttributeError", "ImportError", "ModuleNotFoundError")


def check_loading(subject: Subject) -> Iterator[Finding]:
    """Say that a model could not be loaded or tried."""
    said, spec = subject.said, subject.spec
    key = ("model_args", "class" if spec.backend == "python" else "model_file")
    if "missing" in said:
        text, remedy = f"the model needs {said['missing']}, which is not installed where models run", "install it there"
        yield subject.find("not-tried", "warning", key, text, remedy)
    elif "slow" in said:
        remedy = "nothing, if that is as it should be: less is known of this model than of others"
        yield subject.find("not-tried", "warning", key, str(said["slow"]), remedy)
    elif said.get("key") == "--kwargs":
        text = str(said["error"]).partition(": give its")[0]
        yield subject.find("load-fails", "error", ("model_args", "kwargs"), text, "write its arguments by name")
    elif "error" in said:
        sure = spec.backend != "python" and not said.get("ended")
        text = f"it could not be loaded here: {said['error']}"
        remedy = "save the model again where it loads, or name the libraries that it was made with in requirements"
        if not sure:
            remedy = "nothing, if it needs what only the server has: less is known of this model than of others"
            if "FileNotFoundError" in str(said["error"]):
                remedy = "open a file beside the module by Path(__file__).parent, wherever it is started"
        yield subject.find("load-fails", "error" if sure else "warning", key, text, remedy)


def check_method(subject: Subject) -> Iterator[Finding]:
    """Say that the model lacks the method, or that its answers are none."""
    problem = subject.said.get("problem") or subject.said.get("unfit")
    if problem is None:
        return
    if "no method" in problem:
        remedy = "change model_args.method, or save an object that has it"
        key = ("model_args", "method")
        yield subject.find("method-missing", "error", key, problem, "" if ": " in problem else remedy)
    elif "key" in subject.said or "unfit" in subject.said:
        remedy = "let it answer with an array that has a row for each row of the input"
        yield subject.find("answer-unfit", "error", ("output",), problem, remedy)
    else:
        yield subject.find(
            "not-tried", "warning", ("model_args",), f"trying it failed: {problem}", "look into the model"
        )


def check_refused(subject: Subject) -> Iterator[Finding]:
    """Say that the model raises on rows of its sample, or on all that were made up."""
    refused = subject.said.get("refused")
    if not refused or "unfit" in subject.said:
        return
    number, reason = next(iter(refused.items()))
    if subject.sample is not None:
        severity: Severity = "error" if subject.spec.backend != "python" and subject.spec.verify else "warning"
        text = f"the model raises on row {number} of its sample: {reason}"
        yield subject.find("row-fails", severity, ("input",), text, "write the input as the model takes it")
    elif len(refused) == len(subject.answers):
        pickled = subject.spec.backend in PICKLES
        sure = _is_sure(subject, reason)
        text = f"the model raises on rows of this form: {reason}"
        remedy = "write the input as the model takes it" if sure else "give it a sample.json with rows that it takes"
        first = next(iter(subject.about.get("steps") or [subject.about.get("type", "")]))
        if subject.said.get("takes_float64"):
            remedy = "write dtype: float64, which it takes"
        elif _NO_NUMBER in reason:
            remedy = "write a dtype of numbers, if the model takes these"
        elif reason.startswith("NotFittedError"):
            remedy = "fit the model before it is saved"
        elif pickled and first in _READ_TEXTS:
            remedy = "it reads texts: write input shape: [-1] and dtype: string"
        yield subject.find("row-fails", "error" if sure else "warning", ("input",), text, remedy)


def _is_sure(subject: Subject, reason: str) -> bool:
    """Tell whether rows that were made up should have been taken: a pipeline may parse dates, and knows no words."""
    spec = subject.spec
    if subject.said.get("takes_float64"):
        return True
    if spec.backend in PICKLES:
        return reason.startswith(_OF_NO_VALUE) or (subject.is_fitted and _NO_NUMBER in reason)
    tensors = subject.form.get("tensors") or ()
    free = any(size < 0 for item in tensors for size in item["shape"])
    return spec.backend != "python" and not free and all(item["dtype"].startswith("float") for item in tensors)


def check_finite(subject: Subject) -> Iterator[Finding]:
    """Find answers that JSON has no number for, if the config lets none through."""
    answers = [answer for answer in subject.answers if answer is not None]
    if subject.spec.non_finite != "error" or not answers:
        return
    bad = [number for number, answer in enumerate(subject.answers) if answer is not None and not _is_finite(answer)]
    remedy = "write non_finite: null if clients are to get null, or mend the model"
    if bad and subject.sample is not None:
        text = f"row {bad[0]} of its sample has an answer that is not finite"
        yield subject.find("not-finite", "error" if subject.spec.verify else "warning", ("output",), text, remedy)
    elif len(bad) == len(answers):
        yield subject.find("not-finite", "warning", ("output",), "no made-up row has a finite answer", remedy)


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def check_independence(subject: Subject) -> Iterator[Finding]:
    """Find rows that have another answer together, or when they are asked again."""
    if subject.spec.verify is False:
        return
    again, batch = subject.said.get("again"), subject.said.get("batch")
    if again:
        text = f"row {again[0]} has another answer when it is asked again"
        remedy = "write verify: false if the model draws lots, else let it answer by its input alone"
        yield subject.find("random-answers", "warning", ("verify",), text, remedy)
    elif batch:
        text = (
            f"row {batch[0]} has another answer together with others, and served rows are joined with those of other "
            "clients"
        )
        remedy = "let it answer each row for itself, or write max_batch_size: 1, or verify: false if that is meant"
        yield subject.find("batch-dependent", "error", ("max_batch_size",), text, remedy)


def check_sample(subject: Subject) -> Iterator[Finding]:
    """Compare the sample's predictions with the model's answers to its features."""
    sample, spec = subject.sample, subject.spec
    if sample is None:
        text = "there is no sample.json, so nothing tells whether the answers are those of the model that was trained"
        remedy = "let `schwift new` write it, with --data for real rows"
        yield subject.find("sample-missing", "note", (), text, remedy)
        return
    picked = pick_outputs(subject, list(subject.said.get("names") or ()))
    if spec.verify is False or picked is None or not subject.answers or subject.said.get("again"):
        return
    rules = spec.verify or VerifySpec()
    for place, plan in zip(picked, subject.outputs, strict=True):
        name, dtype = plan.tensor.name, plan.tensor.dtype
        original = sample.predictions.get(name) if isinstance(sample.predictions, Mapping) else sample.predictions
        if not isinstance(original, list):
            text = f"predictions has no rows of the output {name}"
            yield subject.find_in_sample("sample-unfit", "error", "predictions", text, f"add a list of rows as {name}")
            return
        pairs = [
            (_as_served(answer[place], dtype), wanted)
            for answer, wanted in zip(subject.answers, original, strict=False)
            if answer is not None
        ]
        tolerance = default_tolerance(dtype, rules.rtol, rules.atol)
        mine, theirs = [one for one, _ in pairs], [other for _, other in pairs]
        if len(original) != len(subject.answers):
            text = f"there are {len(original)} predictions of {len(subject.answers)} rows"
        elif found := compare_rows(mine, theirs, tolerance):
            text = str(found[0]).replace("served", "the model answers").replace("the original's answer", "the sample")
            text += f" ({len(found)} of {len(pairs)} rows differ)"
        else:
            continue
        remedy = "put the right file, or columns, dtypes and method beside it, or write the sample anew"
        yield subject.find_in_sample("sample-differs", "error", "predictions", text, remedy)
        return


def _as_served(value: Any, dtype: str) -> Any:
    """Return a value of an answer as clients get it."""
    if isinstance(value, list):
        return [_as_served(inner, dtype) for inner in value]
    if isinstance(value, str) or dtype in ("string", "bool"):
        return value
    if not dtype.startswith("float"):
        return int(value) if isinstance(value, bool) or float(value).is_integer() else value
    with np.errstate(over="ignore"):
        number = float(np.dtype(dtype).type(value))
    return number if math.isfinite(number) else None
