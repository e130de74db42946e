"""One request in KServe's V1 protocol or in MLflow's: its body on the way in, its answer on the way out."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.dialects.scoring import foreign_body
from adapter.dialects.scoring.flat_predictions import write_predictions
from adapter.dialects.scoring.foreign_body import OURS, Writing, parse_foreign, rename
from adapter.errors import BadFeatures
from adapter.http.predict import Request, check_media


class ScoringForm:
    """The RequestForm of a request; `note` says how its body is written.

    `may_label`: the rows of its answer may be objects by class.
    """

    __slots__ = ("_may_label", "_where", "note")
    reader = foreign_body.__name__
    tensors = False
    shows_values = True
    takes_labels = True

    def __init__(self, writing: Writing, may_label: bool) -> None:
        self.note: str = writing
        self._may_label = may_label
        # What the body calls the features, once it was read.
        self._where = OURS

    def parse(self, body: bytes, codec: Codec) -> Features:
        """Return the rows of a body; raise as `parse_foreign`."""
        features, self._where = parse_foreign(self.note, codec.request, body)
        return features

    def take(self, features: Features, note: str, codec: Codec) -> Features:
        """Take over what was read of a large body elsewhere."""
        self._where = note
        return features

    def write(self, parts: Sequence[Texts], codec: Codec) -> bytes:
        """Return the body of a 200; raise BadModelOutput if the parts are no tensor."""
        return write_predictions(codec.answer.body(parts), codec.entry, self._may_label)

    def translate(self, error: Exception, codec: Codec) -> Exception:
        """Return an error with what it says of features, by what the client calls them."""
        if type(error) is not BadFeatures:
            return error
        return BadFeatures(rename(error.detail, self._where), error.inside)

    def head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the media type of all answers."""
        return b"application/json", []


def make_v1_form(request: Request) -> ScoringForm:
    """Return the form of a V1 request; raise UnsupportedMedia if its body is not JSON."""
    check_media(request.headers.media)
    return ScoringForm("v1", bool(request.query))


def make_mlflow_form(request: Request) -> ScoringForm:
    """Return the form of an MLflow request; raise UnsupportedMedia if its body is neither JSON nor CSV."""
    kind, _, parameters = request.headers.media.partition(b";")
    if kind.strip().lower() != b"text/csv":
        check_media(request.headers.media)
        return ScoringForm("mlflow", bool(request.query))
    said = [part.strip().lower().replace(b'"', b"") for part in parameters.split(b";")]
    return ScoringForm("csv without header" if b"header=absent" in said else "csv", bool(request.query))
