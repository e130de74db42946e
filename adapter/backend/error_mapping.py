"""Triton's statuses and error texts as our errors, and as the reason that /health gives of a failed load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import grpc

from adapter import errors
from adapter.backend.protocol import LOAD_TIMEOUT
from adapter.errors import DEADLINE, UNAVAILABLE, UNREACHABLE
from converter.schema.wire import error_mark

_RAISED_DETAIL = "The model raised an error on this input."
# The model's code raises it whatever the input.
_UNFIT_MARK = error_mark("model_unfit")
# Triton's own queue gave it up.
QUEUE_TIMEOUT = "Request timeout expired"

# Triton's texts, the most specific first: what each means to the caller.
_BY_TEXT: tuple[tuple[str, type[errors.AdapterError], str], ...] = (
    (error_mark("bad_model_output"), errors.BadModelOutput, "The model's answer is not what its config promises."),
    (error_mark("deadline"), errors.DeadlineExceeded, DEADLINE),
    (_UNFIT_MARK, errors.ModelFailed, _RAISED_DETAIL),
    (error_mark("model_error"), errors.ModelFailed, _RAISED_DETAIL),
    # A packed model, which its host loads when it is asked.
    (error_mark("load_error"), errors.ModelUnavailable, UNAVAILABLE),
    # Before the front's own code, under which it passes this on; after the users' texts, which may say anything.
    ("is not healthy", errors.ModelProcessDead, UNAVAILABLE),
    # It stopped, or ended, while it held that.
    ("Failed to obtain the health mutex", errors.ModelProcessDead, UNAVAILABLE),
    (error_mark("model_unreachable"), errors.ModelUnavailable, UNAVAILABLE),
    ("Exceeds maximum queue size", errors.QueueFull, "The model's queue is full; try again shortly."),
    (QUEUE_TIMEOUT, errors.DeadlineExceeded, DEADLINE),
    ("is not ready", errors.ModelUnavailable, UNAVAILABLE),
    ("no available versions", errors.ModelUnavailable, UNAVAILABLE),
    ("unknown model", errors.ModelUnavailable, UNAVAILABLE),
    ("is not found", errors.ModelUnavailable, UNAVAILABLE),
    ("Server is stopping", errors.UpstreamDown, UNREACHABLE),
)
_BY_CODE: Mapping[Any, tuple[type[errors.AdapterError], str]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (errors.DeadlineExceeded, DEADLINE),
    grpc.StatusCode.UNAVAILABLE: (errors.UpstreamDown, UNREACHABLE),
    grpc.StatusCode.NOT_FOUND: (errors.ModelUnavailable, UNAVAILABLE),
    grpc.StatusCode.CANCELLED: (errors.UpstreamDown, UNREACHABLE),
    grpc.StatusCode.INVALID_ARGUMENT: (
        errors.UpstreamRefused,
        "The inference server refused the request; the server's log has the details under this request_id.",
    ),
}

# What the runtime writes in Triton's texts; a traceback may follow.
_SENTENCE = re.compile(re.escape(error_mark("load_error")) + r" ([^\n]+?)(?:\s+At:|\n|$)")
_UNFIT = re.compile(re.escape(_UNFIT_MARK) + r" ([^\n]+)")
# A path in an exception's text, with what is around it.
_PATH = re.compile(r"\s*[('\"]?(?<!\w)/[^\s()'\"]+[)'\"]?")
_RAISED = re.compile(re.escape(error_mark("model_error")) + r" (\w+)")
_MARK = re.compile(r"\[schwift:\w+\] ?")
_MOST_REASON = 300


def translate(code: Any, text: str) -> errors.AdapterError:
    """Return the error of ours that Triton's status and text mean; the text itself stays inside.

    `code` is a status of gRPC, or None; it counts if the text says nothing that we know.
    """
    for phrase, kind, detail in _BY_TEXT:
        if phrase is QUEUE_TIMEOUT and phrase in text:
            return errors.DeadlineExceeded(detail, text, queued=True)
        if phrase is _UNFIT_MARK and phrase in text:
            return errors.ModelFailed(detail, text, unfit=True)
        if phrase in text:
            return kind(detail, text)
    if code in _BY_CODE:
        kind, detail = _BY_CODE[code]
        return kind(detail, text)
    # A C++ backend's errors carry no code of ours.
    return errors.ModelFailed(_RAISED_DETAIL, text)


def load_reason(text: str) -> str:
    """Return Triton's account of a failed load as one sentence for /health.

    The runtime's own sentences stay as they are; a user's exception is named by its type alone, since its text may hold
    anything.
    """
    if found := _SENTENCE.search(text):
        return found.group(1).strip()
    if found := _RAISED.search(text):
        return f"the model's code raised {found.group(1)} while it was loaded: the server's log has the details"
    if text.startswith(LOAD_TIMEOUT):
        return text
    return "Triton could not load it: the server's log has the details"


def unfit_reason(text: str) -> str:
    """Return the first line of the exception that a model raises whatever its input, without paths."""
    found = _UNFIT.search(text)
    return _without_paths(found.group(1)) if found else "the server's log has the details"


def failure_line(error: errors.AdapterError) -> str:
    """Return the first line of what a model raised, or how its answer was wrong, without paths; "" of other errors."""
    if not isinstance(error, errors.ANSWERS):
        return ""
    _, marked, rest = error.inside.rpartition("[schwift:")
    text = _MARK.sub("", marked + rest) if marked else error.inside
    return _without_paths(next(iter(text.strip().splitlines()), ""))


def _without_paths(line: str) -> str:
    return _PATH.sub("", line).strip().rstrip(":")[:_MOST_REASON]


def raised_in(text: str) -> str:
    """Return the type of the exception that a model raised; `an error` if Triton's text does not tell."""
    found = _RAISED.search(text)
    return found.group(1) if found else "an error"
