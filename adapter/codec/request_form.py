"""How another dialect's request is read and answered: in the place of a model's own codec, for one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.codec.encode import Texts


class RequestForm(Protocol):
    """Read one request of a dialect, then write its answer.

    `reader` is the module that reads large bodies of the dialect in a process of its own (off_loop.py), and `note` what
    it is to know of this one. `tensors` says, once it was read, that the answer is wanted as arrays. `shows_values`
    says that the body has the request's values as text, and `takes_labels` that rows under the names of classes may be
    asked for.
    """

    reader: str
    note: str
    tensors: bool
    shows_values: bool
    takes_labels: bool

    def parse(self, body: bytes, codec: Codec) -> Features:
        """Return the rows of a request, as RowsOfTensors.parse does."""

    def take(self, features: Features, note: str, codec: Codec) -> Features:
        """Take over what `reader` made of a large body, with its `note`; return the rows, which may have no values."""

    def write(self, parts: Sequence[Texts], codec: Codec) -> bytes:
        """Return the body of a 200; raise BadModelOutput if the parts are no tensor."""

    def translate(self, error: Exception, codec: Codec) -> Exception:
        """Return what the client of this dialect is told in the place of an error."""

    def head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the media type of the body that `write` made, and the headers that tell of it."""
