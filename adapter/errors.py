"""What can go wrong with a request, free of the web. adapter/error_codes.py maps each class to its status.

AdapterError
├── Refused                   who sent it
│   ├── Unauthenticated       no key, or none that is valid
│   └── Forbidden             a key that does not allow this
├── BadRequest                what the client sent
│   ├── MalformedRequest      not HTTP/1.x
│   ├── HeadTooLarge
│   ├── SlowRequest           its head or body did not come in time
│   ├── MalformedJson
│   ├── BadHeader
│   ├── UnknownModel
│   ├── EndpointOff           the model's config leaves this endpoint out
│   ├── BodyTooLarge
│   ├── UnsupportedMedia
│   ├── BadFeatures
│   └── AlreadyBatched
├── TryLater                  `retry_after` seconds from now
│   ├── QuotaExceeded         this client's
│   ├── Overloaded            our own bound
│   ├── QueueFull             Triton's
│   ├── ModelUnavailable      not loaded, or failed to load
│   ├── ModelProcessDead      the reconciler loads the model again
│   ├── UpstreamDown          Triton does not answer
│   ├── BreakerOpen           too many calls failed lately
│   └── Draining              we are about to end
├── DeadlineExceeded
├── ModelFailed               the model raised
├── BadModelOutput            the model's answer is not what its config promises
└── UpstreamRefused           Triton refused what we validated: a fault of ours

ReloadFailed is no answer to a client: it goes to `schwift reload`.
"""

from __future__ import annotations

DEADLINE = "The request did not finish within its deadline."
UNREACHABLE = "The inference server does not answer; try again shortly."
UNAVAILABLE = "The model is not available now; try again shortly."
DRAINING = "The server is shutting down: try again shortly, on a new connection."


class AdapterError(Exception):
    """`detail` is one sentence for the client; `inside` is for the log only."""

    def __init__(self, detail: str, inside: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.inside = inside


class Refused(AdapterError):
    """For the log: `why` in one word, and the name of the key that was shown."""

    def __init__(self, detail: str, inside: str = "", why: str = "", key: str = "") -> None:
        super().__init__(detail, inside)
        self.why = why
        self.key = key


class Unauthenticated(Refused):
    pass


class Forbidden(Refused):
    pass


class BadRequest(AdapterError):
    pass


class MalformedRequest(BadRequest):
    pass


class HeadTooLarge(BadRequest):
    pass


class SlowRequest(BadRequest):
    pass


class MalformedJson(BadRequest):
    pass


class BadHeader(BadRequest):
    pass


class UnknownModel(BadRequest):
    pass


class EndpointOff(BadRequest):
    pass


class BodyTooLarge(BadRequest):
    pass


class UnsupportedMedia(BadRequest):
    pass


class BadFeatures(BadRequest):
    pass


class AlreadyBatched(BadRequest):
    pass


class TryLater(AdapterError):
    def __init__(self, detail: str, inside: str = "", retry_after: float = 1.0) -> None:
        super().__init__(detail, inside)
        self.retry_after = retry_after


class QuotaExceeded(TryLater):
    pass


class Overloaded(TryLater):
    pass


class QueueFull(TryLater):
    pass


class ModelUnavailable(TryLater):
    pass


class ModelProcessDead(TryLater):
    pass


class UpstreamDown(TryLater):
    pass


class BreakerOpen(TryLater):
    pass


class Draining(TryLater):
    pass


class DeadlineExceeded(AdapterError):
    """`queued`: it waited in a queue while others were answered, so nothing hangs."""

    def __init__(self, detail: str, inside: str = "", queued: bool = False) -> None:
        super().__init__(detail, inside)
        self.queued = queued


class ModelFailed(AdapterError):
    pass


class BadModelOutput(AdapterError):
    pass


class UpstreamRefused(AdapterError):
    pass


class ReloadFailed(Exception):
    """A new version is not taken; the sentence is for the user who asked for the reload."""
