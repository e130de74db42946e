"""What a check finds: a code, how bad it is, where it stands, what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]

# Also in docs/checks.md, which a test compares.
CODES: Mapping[str, str] = {
    "artifact": "the model's file cannot be served as it is",
    "answer-unfit": "an answer has no row for each row, or is of a kind that is not served",
    "arguments-differ": "the inputs are not the arguments of a TorchScript module's forward",
    "batch-dependent": "a row has another answer together with others",
    "batch-sizes": "batch sizes, delays or queues that do not go together",
    "classes-differ": "`classes:` are not the model's, or in another order",
    "classes-missing": "nothing tells clients which class each probability is of",
    "config": "the config cannot be read",
    "columns-differ": "the config names other columns than the model was fitted with",
    "columns-missing": "the model was fitted with names, and the config has none",
    "dtype-differs": "the model has seen values of another kind",
    "dtype-narrow": "the dtype does not hold what the model has seen",
    "environment": "what is to be known of the environment or the trust of the model",
    "features-count": "the model takes another number of features",
    "float32-loses": "float32 changes values of the input, or of answers",
    "instances": "more instances than cores, or than may run at once",
    "labels-as-floats": "a classifier's labels are asked for as floats, where probabilities are usual",
    "load-fails": "the model could not be loaded",
    "memory": "the model needs more memory than there is, or than it may have",
    "method-missing": "the model does not have the method",
    "not-finite": "answers that are not finite",
    "not-tried": "the model could not be tried, so that less is known of it",
    "null-fails": "the config lets a value be missing, and the model does not",
    "output-count": "the model answers with other outputs",
    "output-dtype": "the model answers with another dtype",
    "output-shape": "the model answers with rows of another shape",
    "passed-over": "a folder that is not taken for a model",
    "random-answers": "a row has another answer when it is asked again",
    "row-fails": "the model raises on rows",
    "row-too-large": "one row is larger than a request may be",
    "sample-differs": "the model's answers are not those of its sample",
    "sample-missing": "there is no sample to hold the model to",
    "sample-unfit": "the sample is none, or has values that the config's input does not take",
    "tensors-differ": "the tensors of the config are not those of the graph",
    "unlike-fit": "the sample's values are far from what the model has seen",
}


@dataclass(frozen=True)
class Finding:
    """One finding; `file` is the place as users see it, `path` where that file is, `key` has dots."""

    code: str
    severity: Severity
    file: str
    path: Path
    line: int
    key: str
    message: str
    remedy: str

    @property
    def text(self) -> str:
        """What is wrong and what to do, in one sentence."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.text} [{self.code}]"
