"""What each key of a model's config means, for the JSON Schema and the table of docs/configuration.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.fields.scheduling import PrioritySpec
from converter.schema.model import ModelArgs, ModelFile, ModelSpec, QueueSpec, TensorSpec, VerifySpec


@dataclass(frozen=True)
class KeyText:
    """What a key means, and its default in words if the value alone does not tell it."""

    means: str
    default: str | None = None


_FOR_PYTHON = "required for python"

TEXTS: Mapping[type[BaseModel], Mapping[str, KeyText]] = {
    ModelFile: {"model": KeyText("one model; a mistyped key is an error that names its line")},
    ModelSpec: {
        "name": KeyText("what clients use; the folder's name need not match"),
        "version": KeyText("shown by `/available_models`"),
        "description": KeyText("shown by `/available_models`", "none"),
        "backend": KeyText("what runs the model: `sklearn`, `joblib`, `onnx`, `python` or `torch`"),
        "caching": KeyText(
            "Triton's response cache, for `/predict_batched` (which then always goes through Triton's batcher) and "
            "native clients"
        ),
        "model_args": KeyText("what the backend loads", "required"),
        "input": KeyText("what the model takes: a mapping, or for several inputs a list of them, with a `name` each"),
        "output": KeyText("what the model gives: a mapping, or for several outputs a list of them, with a `name` each"),
        "preferred_batch_size": KeyText(
            "batch sizes that Triton sends at once; the largest is the most rows of a batch", "`[MAX_BATCH_SIZE]`"
        ),
        "max_batch_delay_ms": KeyText("the most that Triton's batcher waits for other requests"),
        "rush_batch_size": KeyText("the most rows of one call of the model", "the largest preferred size"),
        "max_batch_size": KeyText(
            "another word for `rush_batch_size`, as Triton has it, which preferred sizes may not exceed",
            "the larger of the two above",
        ),
        "instances": KeyText(
            "copies of the model; each has its share of the cores. `auto`: one for each core of the machine that "
            "builds, up to MAX_ML_WORKERS; the build shows how many"
        ),
        "pack": KeyText(
            "the pack whose process the model shares ([packs.md](packs.md)); `true` is the one called `default`, "
            "`false` is none",
            "as SCHWIFT_PACK says",
        ),
        "load": KeyText("`lazy`: the model is tried at the start and sleeps then until its first request"),
        "idle_unload": KeyText(
            "after so long without a request the model sleeps until the next: `30s`, `10m` or `2h`", "never"
        ),
        "max_memory_mb": KeyText(
            "the most memory of the model's processes, together, in MiB; over it the model is loaded again; of a "
            "packed model, [what it holds there](packs.md#what-the-models-of-a-pack-share)"
        ),
        "warmup": KeyText("after each load a model without a sample is asked made-up rows; `false` sends none"),
        "queue": KeyText("Triton's queue of the model"),
        "priority": KeyText(
            "levels of that queue, for Triton's own clients, which name one with a request ([Triton](#triton))"
        ),
        "versions": KeyText("how many versions of the model the repository keeps, to go back to"),
        "trusted": KeyText(
            "`true`, in a folder that `SCHWIFT_TRUST_FOLDERS` names, lets in any pickle and any eager torch module, as "
            "code ([security.md](security.md#pickles))"
        ),
        "triton": KeyText("other fields of the model's config.pbtxt ([Triton](#triton))"),
        "classes": KeyText(
            "the labels of a classifier, in the order of its probabilities (`classes_` of scikit-learn): text, numbers "
            "or booleans. `/available_models` shows them, and `?labels=true` names them in answers "
            "([http-api.md](http-api.md#requests-and-answers)). They fit an output of as many floats, or of one label"
        ),
        "endpoints": KeyText("`[predict]` or `[predict_batched]` leaves the other out", "both"),
        "non_finite": KeyText("NaN or Infinity in an answer is an error; `null` sends `null` in its place"),
        "requirements": KeyText(
            "what an environment of the model's own has: a list of requirements, or a file of them beside this one "
            "([environments.md](environments.md))"
        ),
        "python": KeyText('the Python of an environment of the model\'s own, as in `"3.12"`'),
        "environment": KeyText(
            "where a pickle runs that was made with other versions: in an environment that is made for it, or with "
            "`serving` nowhere"
        ),
        "accept_skew": KeyText("`true` serves a pickle that was made with other versions, whatever it answers then"),
        "verify": KeyText(
            "after each load the model is asked the rows of `sample.json` beside this file, whose answers must be the "
            "original's; `{rtol, atol}` says how far they may be off, `false` is for models that draw lots",
            "by dtype",
        ),
    },
    PrioritySpec: {
        "levels": KeyText("how many there are: 1 goes first"),
        "default": KeyText("the level of requests that name none, such as the adapter's", "the last"),
    },
    ModelArgs: {
        "model_file": KeyText(
            "`.pkl`, `.pickle` or `.joblib`, also as joblib compresses them (`.pkl.gz`; `.bz2`, `.xz`, `.lzma`, `.z`, "
            "`.lz4`); `.onnx`, `.pt` or `.pth`: a path inside the model's folder",
            "required, except for python",
        ),
        "device": KeyText("models run on the CPU, so there is no other value"),
        "class": KeyText(
            "`models.<folder>.<module>:<Class>` or `<module>:<Class>`, which has `predict(X)`; or a function, which is "
            "called with X",
            _FOR_PYTHON,
        ),
        "kwargs": KeyText("what the class is built with, once, or the function called with"),
        "method": KeyText(
            "`predict`, `predict_proba`, `decision_function` or `transform`. By default several floats a row mean "
            "`predict_proba` if the model has it, everything else `predict`",
            "by the output",
        ),
    },
    TensorSpec: {
        "name": KeyText("needed if there are several", "`features`, or the graph's own"),
        "type": KeyText("there is no other value"),
        "shape": KeyText("rows first, so it starts with -1: `[-1, 4]` is any number of rows of 4 values"),
        "dtype": KeyText("the type of each value, such as `float32`, `integer` or `string`"),
        "nullable": KeyText(
            "for an input: `true` takes `null`, which reaches the model as NaN among floats and None among strings "
            "(NaN if the fit saw NaN there). "
            "Integers reach it as float64 then, NaN among them, and are below 2**53. Not for bool; for ONNX and torch "
            "only for floats"
        ),
        "columns": KeyText(
            "for an input, in place of `shape` and `dtype`, with sklearn, joblib and python: a list of "
            "`{name, dtype, nullable}` ([Columns](#columns))"
        ),
    },
    ColumnSpec: {
        "name": KeyText("the name that the model was fitted with"),
        "dtype": KeyText("the type of each value, such as `float32`, `integer` or `string`"),
        "nullable": KeyText("`true` takes `null`, as for an input"),
    },
    QueueSpec: {
        "max_size": KeyText("requests in the queue; beyond it they are rejected", "twice MAX_CONCURRENT_REQUESTS"),
        "timeout_ms": KeyText("the longest that a request waits in it", "PREDICT_TIMEOUT_SECONDS"),
    },
    VerifySpec: {
        "rtol": KeyText("how far an answer may be off, as a part of the original's", "by dtype"),
        "atol": KeyText("how far an answer may be off beyond that", "by dtype"),
    },
}
