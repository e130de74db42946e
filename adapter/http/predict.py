"""Answers predictions: who asks, how much, of which model, and in what time.

Three ways lead here, with the same answers: the framework's route (adapter/http/routes.py), and past it the short cuts
of adapter/http/asgi.py and, for small requests, of adapter/sockets/fast_protocol.py.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import parse_qs

from starlette.types import Receive

from adapter import errors
from adapter.bindings import Binding
from adapter.codec.large_bodies import LargeBody
from adapter.codec.request_form import RequestForm
from adapter.error_codes import STATUS_OF
from adapter.http.access_guard import CHALLENGE, REFUSALS, UNAUTHENTICATED
from adapter.http.answer import Answer
from adapter.http.body_reader import BodyReader, ClientLeft, body_too_large
from adapter.http.error_bodies import body_writer
from adapter.http.error_handlers import error_body, log_unexpected
from adapter.http.failure_reason import name_kind, tell_reason
from adapter.http.gate import Gate
from adapter.http.request_id import accepted_request_id
from adapter.http.semantics.content_codings import LEAST_PREDICTIONS, VARY, accepted_coding, compress
from adapter.http.semantics.inflated_bodies import find_coding, inflate
from adapter.lifecycle.served_model import LastFailure, Model
from adapter.limits.access_policy import Need
from adapter.limits.api_keys import Caller, digest_of
from adapter.limits.client_address import client_address
from adapter.limits.predict_paths import v2_prediction
from adapter.limits.rate_limit import Account
from adapter.predictor import Predictor
from adapter.request_timings import RequestTimings, Traces
from adapter.telemetry.access_log import AccessLog
from adapter.workers.counters import EndpointName
from converter.schema.model import ENDPOINTS, Endpoint

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
# The status of who closed the connection before the answer; nothing is sent.
LEFT = 499
# How many digits of a timeout count: more are over any limit.
_MOST_DIGITS = 18
_PREFIXES: dict[bytes, Endpoint] = {endpoint.encode(): endpoint for endpoint in ENDPOINTS}


class Headers:
    """The few headers of a request that matter here, read in one pass. Values are bytes, as they came.

    Their names have small letters.
    """

    __slots__ = ("chunked", "digest", "encoding", "length", "media", "request_id", "timeout")

    def __init__(self, named: Iterable[tuple[bytes, bytes]]) -> None:
        self.media = b"application/json"
        self.length = self.encoding = self.request_id = b""
        self.timeout: bytes | None = None
        self.chunked = False
        # The hash of the key that the request shows, if keys are on and it was looked at.
        self.digest: bytes | None = None
        for name, value in named:
            if name == b"content-type":
                self.media = value
            elif name == b"content-length":
                self.length = value
            elif name == b"content-encoding":
                # Several are one list, whatever the lines they stand in.
                self.encoding = self.encoding + b", " + value if self.encoding else value
            elif name == b"x-request-id":
                self.request_id = value
            elif name == b"x-request-timeout-ms":
                self.timeout = value
            elif name == b"transfer-encoding":
                self.chunked = True


class Request(Protocol):
    """A request on a predict endpoint, by whichever way it came.

    `name` is the model's; `receive` is ASGI's, for a body that did not come with the request.
    """

    endpoint: EndpointName
    name: str
    headers: Headers
    receive: Receive

    @property
    def query(self) -> bytes:
        """What stands behind the `?` of the address, as it came."""

    @property
    def body(self) -> bytes | None:
        """The whole body; None if it is still to be read, with `receive`."""

    @property
    def need(self) -> Need:
        """What a key must allow: `policy` of the request's path."""

    @property
    def client(self) -> str:
        """The connection's address, without its port."""

    @property
    def named(self) -> Iterable[tuple[bytes, bytes]]:
        """All headers, with their names in small letters."""

    @property
    def disconnected(self) -> bool:
        """Whether the connection ended meanwhile."""


# What makes the form of a dialect's request.
MakeForm = Callable[[Request], RequestForm]


class PredictEndpoint:
    """Answers both endpoints of every model, by whichever way a request came.

    No body may be over `max_body_bytes`; a model may allow less. `traces` is None if requests are not traced.
    `tells_reasons`: what a model raised stands in the answer, for who sent what it raised on.
    """

    def __init__(
        self,
        service: Predictor,
        gate: Gate,
        max_body_bytes: int,
        access: AccessLog,
        traces: Traces | None,
        tells_reasons: bool,
    ) -> None:
        self._tells_reasons = tells_reasons
        self._keys = gate.keys
        self._quota = gate.quota
        self._audit = gate.audit
        self._hops = gate.trusted_hops
        self._origins = gate.origins
        self._access = access
        self._traces = traces
        self._service = service
        # Says from then on that this process is about to end; it serves on.
        self.drain = service.drain
        self._bindings = service.bindings
        self.bodies = BodyReader(max_body_bytes)
        self._limit = max_body_bytes
        # The largest body that may come whole with its request.
        self.small = self.bodies.small
        # An id is this process's prefix and a number: unique, and cheaper than a random one each.
        self._prefix = secrets.token_hex(6)
        self._forms: dict[EndpointName, MakeForm] = {}
        self._numbers = itertools.count(1)

    def add_dialect(self, name: EndpointName, make_form: MakeForm) -> None:
        """Answer requests of this name in another dialect from now on; `make_form` raises what is wrong with a head."""
        self._forms[name] = make_form

    def known(self, path: bytes) -> tuple[EndpointName, str] | None:
        """Return the endpoint and the model of a path of a request's first line, if the model has that endpoint.

        None says nothing: the path may be written in another way, or the model have to be looked for.
        """
        head, _, name = path[1:].partition(b"/")
        endpoint = _PREFIXES.get(head)
        if endpoint is None or path[:1] != b"/":
            return self._known_in_v2(path)
        text = name.decode("latin-1")
        return (endpoint, text) if self._bindings.knows(text, endpoint) else None

    def _known_in_v2(self, path: bytes) -> tuple[EndpointName, str] | None:
        found = v2_prediction(path)
        if found is None or found[1]:
            return None
        text = found[0].decode("latin-1")
        return ("v2", text) if self._bindings.knows(text, "v2") else None

    async def answer(self, request: Request) -> Answer:
        """Answer a request, whatever is wrong with it; count, log and trace it.

        The status is LEFT if the client is gone: nothing is to be sent then. Raises: nothing but what ends the task.
        """
        arrived = started = time.monotonic()
        headers, endpoint, name = request.headers, request.endpoint, request.name
        given = headers.request_id
        request_id = (given and accepted_request_id(given)) or f"{self._prefix}{next(self._numbers):08x}"
        target = self._bindings.find(name, endpoint)
        timings = RequestTimings()
        if self._traces is not None:
            timings.trace = self._traces.begin(request.named, endpoint, name if target else None, request_id)
        status, code = 200, "ok"
        body: bytes | LargeBody | None = request.body
        more: list[tuple[bytes, bytes]] = []
        caller: Caller | None = None
        account: Account | None = None
        form: RequestForm | None = None
        try:
            if self._keys is not None:
                if (digest := headers.digest) is None:
                    digest = headers.digest = digest_of(request.named)
                caller = self._keys.admit_digest(digest, request.need)
            if self._quota is not None:
                client = "" if caller is not None else self._client(request)
                timings.account = account = self._quota.account(client, caller)
                if account is not None:
                    account.take_request()
            if target is None:
                raise self._bindings.missing(name, endpoint)
            timeout = None if headers.timeout is None else _timeout(headers.timeout)
            if endpoint in self._forms:
                form = self._forms[endpoint](request)
            elif headers.media != b"application/json":
                check_media(headers.media)
            labels = bool(request.query) and (form is None or form.takes_labels) and _wants_labels(request.query)
            if body is None or headers.encoding:
                body = await self._read(request, min(self._limit, target.most_bytes))
            elif len(body) > target.most_bytes:
                raise body_too_large(min(self._limit, target.most_bytes))
            started = time.monotonic()
            content = await self._service.predict(target, body, timeout, timings, labels, form)
        except Exception as raised:
            error = raised if form is None or target is None else form.translate(raised, target.model.codec)
            shown = body if form is None or form.shows_values else None
            status, code, content, more = self._explain(error, request, shown, target, caller, request_id)
        finally:
            if isinstance(body, LargeBody):
                body.close()
        if request.disconnected:
            # It was answered all the same, since others may be in the same call; but not to anybody.
            status, code = LEFT, "client_left"
        media = self._add_headers(request, form, status, account, more)
        if len(content) >= LEAST_PREDICTIONS and media == b"application/json" and status != LEFT:
            content = await _compress(content, request, more)
        self._note(request, target, caller, timings, status, code, arrived, started, request_id)
        return Answer(status, content, request_id, more, media)

    def _add_headers(
        self, request: Request, form: RequestForm | None, status: int, account: Account | None,
        more: list[tuple[bytes, bytes]],
    ) -> bytes:  # fmt: skip
        """Add to `more` what an answer's head says of its form, a quota and other origins; return its media type."""
        media = b"application/json"
        if form is not None and status == 200:
            media, described = form.head()
            more += described
        if account is not None:
            more += account.headers()
        if self._origins is not None and request.endpoint != "v2_grpc":
            more += self._origins.headers_for(request.named)
        return media

    async def _read(self, request: Request, limit: int) -> bytes | LargeBody:
        """Return the whole body, which is still to be read or compressed, as BodyReader does; bounded by `limit`."""
        headers, body = request.headers, request.body
        coding = find_coding(headers.encoding)
        packed = await self.bodies.read(headers.length, request.receive, limit) if body is None else body
        return packed if coding is None else await inflate(packed, coding, limit, self.bodies.large)

    def _client(self, request: Request) -> str:
        """Return the client's address, as trusted proxies tell it."""
        return client_address(request.client, request.named, self._hops)

    def _explain(
        self,
        error: Exception,
        request: Request,
        body: bytes | LargeBody | None,
        target: Binding | None,
        caller: Caller | None,
        request_id: str,
    ) -> tuple[int, str, bytes, list[tuple[bytes, bytes]]]:
        """Return status, code, body and headers of an error's answer; write an audit line if it is about who asked."""
        more: list[tuple[bytes, bytes]] = []
        if isinstance(error, ClientLeft):
            return LEFT, "client_left", b"", more
        if not isinstance(error, errors.AdapterError):
            content = log_unexpected(error, request_id, body_writer(request.endpoint))
            return 500, "internal_error", content, more
        status, code = STATUS_OF[type(error)]
        reason = ""
        if target is not None and isinstance(error, errors.ANSWERS):
            reason = self._note_failure(error, code, body, target.model)
        content, retry_after = error_body(error, request_id, reason, body_writer(request.endpoint))
        if retry_after is not None:
            more.append((b"retry-after", b"%d" % retry_after))
        if status in REFUSALS:
            why, key = (error.why, error.key) if isinstance(error, errors.Refused) else ("quota", "")
            key = key or ("" if caller is None else caller.name)
            model = request.name if target else "-"
            self._audit.refused(status, why, request.endpoint, model, self._client(request), key, request_id)
            if status == UNAUTHENTICATED:
                more.append(CHALLENGE)
        # Its frames hold the body, and some of them the error itself: without this, bodies of megabytes would stay
        # until the collector of cycles comes by.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return status, code, content, more

    def _note_failure(self, error: errors.AdapterError, code: str, body: bytes | LargeBody | None, model: Model) -> str:
        """Note a model's failure for /health, and return its reason if the client may know."""
        if not self._tells_reasons:
            model.last_failure = LastFailure(time.time(), code, name_kind(error))
            return ""
        entry = model.entry
        names = {tensor.name for tensor in (*entry.inputs, *entry.outputs)}
        names |= {column.name for tensor in entry.spec.input for column in tensor.columns}
        reason = tell_reason(error, body, names)
        model.last_failure = LastFailure(time.time(), code, reason)
        return reason

    def _note(
        self, request: Request, target: Binding | None, caller: Caller | None, timings: RequestTimings, status: int,
        code: str, arrived: float, started: float, request_id: str,
    ) -> None:  # fmt: skip
        """Count, log and trace an answer; `started` is when the model was asked."""
        now = time.monotonic()
        # An unknown model is counted nowhere: never under a label of the client's choosing.
        if target is not None and status == 200:
            target.counts.answered(now - started, timings.rows, timings.queue, timings.model)
        elif target is not None:
            target.counts.failed(code)
        if self._access.wants(status):
            key = None if self._keys is None else "-" if caller is None else caller.name
            self._access.predict(
                request_id, request.endpoint, request.name if target else "-", self._client(request), timings, status,
                code, now - arrived, key,
            )  # fmt: skip
        if timings.trace is not None:
            timings.trace.finish(timings, status, code)


async def _compress(content: bytes, request: Request, more: list[tuple[bytes, bytes]]) -> bytes:
    """Return a large answer in the coding that the client accepts, and add to `more` what says so."""
    more.append(VARY)
    coding = accepted_coding(request.named)
    if coding is None:
        return content
    more.append((b"content-encoding", coding))
    return await compress(content, coding)


def check_media(media: bytes) -> None:
    """Raise UnsupportedMedia if a Content-Type is not JSON's."""
    media = media.partition(b";")[0].strip().lower()
    if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
        raise errors.UnsupportedMedia("The body must be JSON: send it with Content-Type: application/json.")


def _wants_labels(query: bytes) -> bool:
    """Return whether a query has labels=true; raise BadQuery if that is neither true nor false."""
    values = set(parse_qs(query.decode("latin-1"), keep_blank_values=True).get("labels", ()))
    if not values <= {"true", "false"} or len(values) > 1:
        raise errors.BadQuery("labels must be true or false.")
    return values == {"true"}


def _timeout(text: bytes) -> float:
    """Return the client's own deadline, in seconds; raise BadHeader if it is no positive whole number of ms."""
    if not text.isdigit() or int(text[:_MOST_DIGITS]) == 0:
        raise errors.BadHeader(f"{TIMEOUT_HEADER} must be a positive whole number of milliseconds.")
    return int(text[:_MOST_DIGITS]) / 1e3
