"""What goes wrong in a model, each with the code that the adapter reads from Triton's error text."""

from __future__ import annotations


class ModelError(Exception):
    """The user's model raised, or cannot be loaded."""

    code = "model_error"

    def __str__(self) -> str:
        return f"[schwift:{self.code}] {super().__str__()}"


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
    return ModelError(f"{type(error).__name__}: {error}")
