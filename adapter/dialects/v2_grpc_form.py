"""One V2 inference over gRPC: its message → rows of tensors, and the answer → a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from starlette.types import Message, Receive
from tritonclient.grpc import service_pb2

from adapter.codec.body_errors import short
from adapter.codec.codec import Codec
from adapter.codec.decode import LARGE_BYTES, Features
from adapter.codec.encode import Texts
from adapter.dialects.v2_form import name_tensor, v2_codec
from adapter.dialects.v2_messages import TensorPart, WantedPart, check_parameters
from adapter.dialects.v2_reader import V2Asked
from adapter.errors import BadTensor, BodyTooLarge, UnknownModel
from adapter.http.predict import Headers, Request
from adapter.limits.access_policy import Need
from adapter.workers.counters import EndpointName

# Where the values of a datatype stand that are not raw; FP16 is raw alone.
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_TIMEOUT = b"x-request-timeout-ms"
Named = Sequence[tuple[bytes, bytes]]


async def _nothing() -> Message:
    raise RuntimeError("the message is there")


class V2GrpcRequest:
    """A Request of the endpoint that came over gRPC; `named` is its metadata, and `client` its address."""

    __slots__ = ("body", "client", "disconnected", "headers", "message", "name", "named", "need", "receive")
    endpoint: EndpointName = "v2_grpc"
    query = b""

    def __init__(self, message: Any, named: Named, client: str) -> None:
        self.message = message
        self.name: str = message.model_name
        self.named: Iterable[tuple[bytes, bytes]] = named
        self.headers = Headers((name, value) for name, value in named if name in (b"x-request-id", _TIMEOUT))
        self.client = client
        self.need = Need("predict", self.name)
        self.body: bytes | None = b""
        self.receive: Receive = _nothing
        self.disconnected = False


class V2GrpcForm:
    """The RequestForm of a V2 inference over gRPC; its values are raw, or stand in the fields of their type."""

    __slots__ = ("_asked", "_message", "note", "shows_values", "tensors")
    reader = ""
    takes_labels = False

    def __init__(self, message: Any) -> None:
        self._message = message
        self._asked = V2Asked()
        self.note = ""
        self.tensors = True
        self.shows_values = False

    def parse(self, body: bytes, codec: Codec) -> Features:
        """Return the rows of the message; `body` is none of it."""
        message, reader, served = self._message, v2_codec(codec).reader, str(codec.entry.version)
        if message.model_version and message.model_version != served:
            raise UnknownModel(f"This model is served in version {served} alone: ask for that, or for none.")
        check_parameters(_named(message.parameters), "parameters")
        wanted = [WantedPart(item.name, _named(item.parameters)) for item in message.outputs]
        self._asked = V2Asked(message.id or None, True, reader.find_outputs(wanted, True) if wanted else None)
        parts = [
            TensorPart(item.name, list(item.shape), item.datatype, parameters=_named(item.parameters))
            for item in message.inputs
        ]
        for part in parts:
            check_parameters(part.parameters, f'input "{short(part.name)}"')
        pieces = self._raw(parts, codec) if message.raw_input_contents else self._typed()
        return reader.read_parts(parts, pieces)

    def take(self, features: Features, note: str, codec: Codec) -> Features:
        """Return the rows; no message comes as a large body."""
        return features

    def write(self, parts: Sequence[Texts], codec: Codec) -> bytes:
        """Return the response message in bytes, its values raw; raise BadModelOutput if the parts are no tensor."""
        entry = codec.entry
        answer = service_pb2.ModelInferResponse(
            model_name=entry.name, model_version=str(entry.version), id=self._asked.id or ""
        )
        for name, datatype, shape, raw in v2_codec(codec).writer.tensors(parts, self._asked):
            answer.outputs.add(name=name, datatype=datatype, shape=shape)
            answer.raw_output_contents.append(raw)
        written: bytes = answer.SerializeToString()
        return written

    def translate(self, error: Exception, codec: Codec) -> Exception:
        """Return an error with the tensor's name, as over HTTP."""
        return name_tensor(error, codec)

    def head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return what nobody looks at: gRPC has its own."""
        return b"application/grpc", []

    def _raw(self, parts: Sequence[TensorPart], codec: Codec) -> dict[str, memoryview | list[Any]]:
        raws = self._message.raw_input_contents
        if len(raws) != len(parts):
            raise BadTensor(f"raw_input_contents has {len(raws)} values for {len(parts)} inputs: each needs its own.")
        if any(item.HasField("contents") for item in self._message.inputs):
            raise BadTensor("An input has contents beside raw_input_contents: send one of them.")
        if sum(map(len, raws)) > LARGE_BYTES and any(tensor.dtype == "string" for tensor in codec.entry.inputs):
            raise _too_large()
        return {part.name: memoryview(raw) for part, raw in zip(parts, raws, strict=True)}

    def _typed(self) -> dict[str, memoryview | list[Any]]:
        if self._message.ByteSize() > LARGE_BYTES:
            raise _too_large()
        pieces: dict[str, memoryview | list[Any]] = {}
        for item in self._message.inputs:
            field = _CONTENTS.get(item.datatype)
            pieces[item.name] = [] if field is None else list(getattr(item.contents, field))
        return pieces


def make_grpc_form(request: Request) -> V2GrpcForm:
    """Return the form of a request that came over gRPC."""
    assert isinstance(request, V2GrpcRequest)
    return V2GrpcForm(request.message)


def _named(parameters: Any) -> dict[str, Any]:
    """Return the parameters of a message by name, each as what it holds."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in parameters.items()
    }


def _too_large() -> BodyTooLarge:
    # They would be read value by value while everybody else waits.
    return BodyTooLarge(
        f"Over {LARGE_BYTES // 1024} KiB a message may have raw tensors of numbers alone: "
        "send them as raw_input_contents, texts over HTTP, or fewer rows a request."
    )
