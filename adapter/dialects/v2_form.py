"""One V2 request over HTTP: read with the model's own reader, answered in JSON or with raw tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.dialects import v2_reader
from adapter.dialects.v2_reader import V2Asked, V2Reader
from adapter.dialects.v2_writer import V2Writer
from adapter.errors import BadFeatures, BadHeader, BadTensor, UnsupportedMedia
from adapter.http.predict import Request
from converter.schema.manifest import ModelEntry

HEADER = b"inference-header-content-length"
_JSON, _RAW = b"application/json", b"application/octet-stream"
_MOST_DIGITS = 18
# How our own messages name the place of a value.
_PLACE = re.compile(r"features(?:\.([^\[:]+))?((?:\[\d+\])*)")


class V2Codec:
    """Both ways of one model in V2."""

    def __init__(self, entry: ModelEntry) -> None:
        self.reader = V2Reader(entry)
        self.writer = V2Writer(entry)


def v2_codec(codec: Codec) -> V2Codec:
    """Return both ways of a model, made when it is first asked in V2."""
    found: V2Codec | None = codec.dialects.get("v2")
    if found is None:
        found = codec.dialects["v2"] = V2Codec(codec.entry)
    return found


def name_tensor(error: Exception, codec: Codec) -> Exception:
    """Return an error of our own features as one of the tensor that has them; any other error as it is."""
    if type(error) is not BadFeatures:
        return error

    def name(found: re.Match[str]) -> str:
        return f'input "{found[1] or codec.entry.inputs[0].name}"{found[2]}'

    return BadTensor(_PLACE.sub(name, error.detail, count=1), error.inside)


class V2Form:
    """The RequestForm of a V2 request; `note` is how many bytes of its body are JSON if tensors follow, else empty."""

    __slots__ = ("_asked", "_head", "_length", "_rows", "note", "shows_values", "tensors")
    reader = v2_reader.__name__
    takes_labels = False

    def __init__(self, head: int | None) -> None:
        self.note = "" if head is None else str(head)
        self.shows_values = head is None
        self.tensors = False
        self._head = head
        self._asked = V2Asked()
        self._rows = 0
        self._length: int | None = None

    def parse(self, body: bytes, codec: Codec) -> Features:
        """Return the rows of a request, as V2Reader does."""
        features, asked = v2_codec(codec).reader.read(body, self._head)
        self._note(features, asked, codec)
        return features

    def take(self, features: Features, note: str, codec: Codec) -> Features:
        """Take over what was read of a large body elsewhere."""
        self._note(features, msgspec.json.decode(note, type=V2Asked), codec)
        return features

    def write(self, parts: Sequence[Texts], codec: Codec) -> bytes:
        """Return the body of a 200; raise BadModelOutput if the parts are no tensor."""
        content, self._length = v2_codec(codec).writer.write(parts, self._rows, self._asked)
        return content

    def translate(self, error: Exception, codec: Codec) -> Exception:
        """Return an error with what is wrong with tensors as the V2 protocol has it: 400, and the tensor's name."""
        return name_tensor(error, codec)

    def head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return the media type and the header that says where the JSON ends."""
        if self._length is None:
            return _JSON, []
        return _RAW, [(HEADER, b"%d" % self._length)]

    def _note(self, features: Features, asked: V2Asked, codec: Codec) -> None:
        self._asked = asked
        self._rows = len(features[0])
        self.tensors = v2_codec(codec).writer.needs_arrays(asked)


def _check_media(media: bytes) -> None:
    media = media.partition(b";")[0].strip().lower()
    if media not in (_JSON, _RAW) and not (media.startswith(b"application/") and media.endswith(b"+json")):
        raise UnsupportedMedia(
            "The body must be JSON, with tensors behind it or not: send it with Content-Type: application/json "
            "or application/octet-stream."
        )


def make_form(request: Request) -> V2Form:
    """Return the form of a request, by its headers.

    Raises: UnsupportedMedia if the body is something else, BadHeader if the length of the JSON is no number.
    """
    headers = request.headers
    if headers.media != _JSON:
        _check_media(headers.media)
    given = [value for name, value in request.named if name == HEADER]
    if not given:
        return V2Form(None)
    if len(given) > 1 or not given[0].isdigit() or len(given[0]) > _MOST_DIGITS:
        raise BadHeader("Inference-Header-Content-Length must be one whole number of bytes.")
    return V2Form(int(given[0]))
