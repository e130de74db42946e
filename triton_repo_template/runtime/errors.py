"""What goes wrong in a model, each with the code that the adapter reads from Triton's error text."""

from __future__ import annotations

import sys
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


class ModelError(Exception):
    """The user's model raised, or cannot be loaded."""

    code = "model_error"

    def __str__(self) -> str:
        return f"[schwift:{self.code}] {super().__str__()}"


class ModelUnfit(ModelError):
    """The model raised an error that no row could help."""

    code = "model_unfit"


class LoadError(ModelError):
    """The model cannot be loaded, in a sentence of ours: nothing in it is of the user's code."""

    code = "load_error"


class BadModelOutput(ModelError):
    """The model answered with another shape, dtype or number of rows than its config promises."""

    code = "bad_model_output"


class ModelUnreachable(ModelError):
    """The front got no answer of `m_direct`. Says nothing about the rows, so splitting would not help."""

    code = "model_unreachable"


class DeadlineExceeded(ModelUnreachable):
    """`m_direct` did not answer within the front's deadline."""

    code = "deadline"


def as_model_error(error: BaseException) -> ModelError:
    """Any exception of a user's model as ours; the text keeps its type and message, and no traceback."""
    if isinstance(error, ModelError):
        return error
    text = f"{type(error).__name__}: {error}"
    return ModelUnfit(text) if _is_unfit(error) else ModelError(text)


def _is_unfit(error: BaseException) -> bool:
    """Whether no row explains an error: a library is missing or of another version, or the model is not fitted."""
    if isinstance(error, ImportError) or "NotFittedError" in (kind.__name__ for kind in type(error).__mro__):
        return True
    # A library's object may come from a pickle of another version, and lack what the library's code asks for.
    return isinstance(error, AttributeError) and _is_of_library(type(getattr(error, "obj", None)))


def _is_of_library(kind: type) -> bool:
    """Whether a class is of an installed library, and neither of the user's own code nor of Python's."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return not _INSTALLED.isdisjoint(Path(path).parts)
