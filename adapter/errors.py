"""What can go wrong with a request, free of the web. adapter/error_codes.py maps each class to its status."""

from __future__ import annotations

DEADLINE = "The request did not finish within its deadline."
UNREACHABLE = "The inference server does not answer; try again shortly."
UNAVAILABLE = "The model is not available now; try again shortly."
DRAINING = "The server is shutting down: try again shortly, on a new connection."


class AdapterError(Exception):
    """What became of a request: `detail` is one sentence for the client, `inside` is for the log only."""

    def __init__(self, detail: str, inside: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.inside = inside


class Refused(AdapterError):
    """The sender may not do this. For the log: `why` in one word, and the name of the `key` that was shown."""

    def __init__(self, detail: str, inside: str = "", why: str = "", key: str = "") -> None:
        super().__init__(detail, inside)
        self.why = why
        self.key = key


class Unauthenticated(Refused):
    """The request shows no key, or none that is valid."""


class Forbidden(Refused):
    """The key that was shown does not allow this."""


class BadRequest(AdapterError):
    """The client sent what cannot be answered as it is."""


class MalformedRequest(BadRequest):
    """What came is not HTTP/1.x."""


class HeadTooLarge(BadRequest):
    """The request's head is longer, or has more headers, than the settings allow."""


class SlowRequest(BadRequest):
    """The request's head or body did not come in time."""


class MalformedJson(BadRequest):
    """The body is not JSON in UTF-8, or has a number out of range or a key twice in an object."""


class BadHeader(BadRequest):
    """A header that the adapter reads has a value that it cannot use."""


class BadQuery(BadRequest):
    """The query of the address asks for what cannot be given."""


class UnknownModel(BadRequest):
    """No model has the name that stands in the path."""


class EndpointOff(BadRequest):
    """The model's config leaves this endpoint out."""


class BodyTooLarge(BadRequest):
    """The body is longer than the settings, or one row of this model, allow."""


class UnsupportedMedia(BadRequest):
    """The body is announced as something that the adapter does not read."""


class BadFeatures(BadRequest):
    """The body is JSON, and its features are not what the model takes.

    `of_columns` says that a column is missing, or that one is there which the model does not have.
    """

    def __init__(self, detail: str, inside: str = "", of_columns: bool = False) -> None:
        super().__init__(detail, inside)
        self.of_columns = of_columns


class SchemaMismatch(BadRequest):
    """A column is missing or unknown, in a dialect whose clients know that as a bad request."""


class BadTensor(BadRequest):
    """A request of the V2 protocol has tensors that are not what the model takes."""


class AlreadyBatched(BadRequest):
    """A request to /predict_batched has more than one row."""


class TryLater(AdapterError):
    """The same request may be answered later: `retry_after` seconds from now."""

    def __init__(self, detail: str, inside: str = "", retry_after: float = 1.0) -> None:
        super().__init__(detail, inside)
        self.retry_after = retry_after


class QuotaExceeded(TryLater):
    """The client has used up its quota of requests or rows."""


class Overloaded(TryLater):
    """The adapter is at a bound of its own: of requests, connections or large bodies."""


class QueueFull(TryLater):
    """The model's queue is full, in the adapter or in Triton."""


class ModelUnavailable(TryLater):
    """The model is not loaded, or failed to load."""


class ModelProcessDead(TryLater):
    """A process of the model died; the reconciler loads the model again."""


class UpstreamDown(TryLater):
    """Triton does not answer."""


class BreakerOpen(TryLater):
    """Too many calls failed lately, so this one is not made."""


class Draining(TryLater):
    """The server is about to end, and does not answer this request any more."""


class DeadlineExceeded(AdapterError):
    """The request was not answered by its deadline.

    `queued` says that it waited in a queue while others were answered, so nothing hangs.
    """

    def __init__(self, detail: str, inside: str = "", queued: bool = False) -> None:
        super().__init__(detail, inside)
        self.queued = queued


class ModelFailed(AdapterError):
    """The model raised an error on this input; `unfit` says that no input could help it."""

    def __init__(self, detail: str, inside: str = "", unfit: bool = False) -> None:
        super().__init__(detail, inside)
        self.unfit = unfit


class BadModelOutput(AdapterError):
    """The model's answer is not what its config promises."""


class UpstreamRefused(AdapterError):
    """Triton refused what the adapter had validated: a fault of ours."""


# Errors that are the model's own word, and so tell that it lives.
ANSWERS = (ModelFailed, BadModelOutput)


class SmokeTestFailed(Exception):
    """A model that was loaded is not fit to be served; the sentence says what is wrong with it."""


class ReloadFailed(Exception):
    """A new version is not taken; the sentence is for the user who asked for the reload."""
