"""uvicorn's HTTP protocol with bounds on what a client may send, and an answer's head and body in one packet.

uvicorn writes them one after the other: two system calls, and two wake-ups of the client, which together were a third
of the adapter's time (docs/performance.md). Also it sets and cancels a keep-alive timer for each request, and bounds
neither heads nor the requests that are sent before others are answered.
"""

from __future__ import annotations

from typing import Any

import httptools

from adapter import errors
from adapter.sockets.connection_bounds import HeadBounds
from adapter.sockets.refusals import cause_of
from adapter.sockets.stepping import HEAD_END, HeadCutter, body_parser, find_end, framing_of, is_one_request
from adapter.sockets.watched_protocol import BODY, BOUNDARY, HEAD, WatchedProtocol

# A packet that is no larger has few requests in it.
_SMALL_PACKET = 4096
# The rest of a body that nobody reads is parsed up to this size, for the next request of its connection.
_MOST_SKIPPED = 64 * 1024


class BoundedProtocol(WatchedProtocol):
    """A connection that bounds what its client may send, for `uvicorn.Config(http=BoundedProtocol)`.

    Requests are parsed one at a time: the next when one is answered. `head_bounds` bounds the head of each.
    """

    head_bounds = HeadBounds()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_headers = self.head_bounds.headers
        self._most_head = self.head_bounds.bytes
        self._small = min(_SMALL_PACKET, self._most_head)
        self._head = HeadCutter(self._most_head)
        self._hosts = 0
        # What is to come of the body, where its head says so.
        self._left = 0
        self._chunked = False
        # Bytes of a chunked body that are no data, since the last that were; and its last three bytes.
        self._framing = 0
        self._tail = b""
        self._offers_upgrade = False
        # Where the part of `_unread` begins that was not parsed.
        self._unread_at = 0

    # What comes

    def data_received(self, data: bytes) -> None:
        """Parse what came: one small whole request at once, all else a head or a part of a body at a time."""
        if (
            self._stage == BOUNDARY
            and len(data) <= self._small
            and not self._deaf
            and ((cycle := self.cycle) is None or cycle.response_complete)
            and self._unread is None
            and is_one_request(data)
        ):
            self._feed(data)
            if self._stage != BOUNDARY:
                self._note_rest(data)
        else:
            self._feed_in_steps(data, 0)
        if self._pending is not None:
            self._leave_short_cut()

    def _feed_in_steps(self, data: bytes, at: int) -> None:
        if self._unread is not None:
            self._hold(self._unread[self._unread_at :] + data[at:], 0)
            return
        while at < len(data) and not self._deaf:
            if self._stage != BODY and (self._is_busy() or self.flow.write_paused):
                self._hold(data, at)
                return
            try:
                at = self._take_body(data, at) if self._stage == BODY else self._take_head(data, at)
            except errors.AdapterError as error:
                self._refuse(error)

    def _take_head(self, data: bytes, at: int) -> int:
        end, whole = self._head.cut(data, at)
        self._feed(data[at:end])
        self._check_count()
        if whole and self._stage == HEAD and not self._deaf:
            raise errors.MalformedRequest("The request's head is not one of HTTP/1.1.")
        return end

    def _take_body(self, data: bytes, at: int) -> int:
        if not self._chunked:
            end = min(len(data), at + self._left)
            self._left -= end - at
            self._feed(memoryview(data)[at:end])
            return end
        end, _ = find_end(data, at, self._tail)
        end = min(end, at + self._most_head)
        piece, before = data[at:end], self._body_bytes
        self._tail = (self._tail + piece)[-3:]
        self._feed(piece)
        self._framing = self._framing + len(piece) if self._body_bytes == before else 0
        if self._framing > self._most_head:
            raise errors.HeadTooLarge(f"The chunks' own lines are over the limit of {self._most_head} bytes.")
        return end

    def _note_rest(self, data: bytes) -> None:
        """Count what follows the head in a packet that ended within a request: of its body, or of the next head."""
        body = data.find(HEAD_END) + 4
        if self._stage == BODY:
            self._left -= len(data) - body
            self._tail = data[body:][-3:]
        elif not self._deaf:
            try:
                self._head.cut(data, body + self._left)
            except errors.AdapterError as error:
                self._refuse(error)

    def _feed(self, piece: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as stop:
            self._ignore_offer(bytes(piece[stop.args[0] :]))
        except httptools.HttpParserError as error:
            self._refuse(cause_of(error))

    def _ignore_offer(self, rest: bytes) -> None:
        """Read on in HTTP/1.1: whoever offers another protocol sends its body in this one (RFC 9110, 7.8)."""
        self._offers_upgrade = False
        if not self._chunked and not self._left:
            self.on_message_complete()
            return
        self.parser = body_parser(self._left, self._chunked, self.on_body, self.on_message_complete)
        if rest:
            self._feed(rest)

    def _hold(self, data: bytes, at: int) -> None:
        """Keep `data` from `at` on until what came before is answered, and read no more meanwhile."""
        self._unread, self._unread_at = data, at
        self.flow.pause_reading()
        self.flow.held = True

    def _go_on(self) -> None:
        """Parse the next of what was held, or tell what was wrong with it."""
        if self._is_busy() or self.transport.is_closing() or self.flow.write_paused:
            return
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._answer_refusal(refusal)
        elif self._unread is not None:
            data, self._unread = self._unread, None
            self.flow.held = False
            self._feed_in_steps(data, self._unread_at)
            if self._pending is not None:
                self._leave_short_cut()
            self.flow.resume_reading()

    def _leave_short_cut(self) -> None:
        """Take the usual way with the pending request, which did not come whole in one packet; here all go that way."""

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Note that the head of a request begins; a callback of the parser."""
        self._stage = HEAD
        self._hosts = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, its name in small letters; count Host and note `Expect: 100-continue`."""
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check a head that is whole, and hand the request to the application.

        Raises: MalformedRequest and HeadTooLarge, which the parser wraps (`cause_of` finds them).
        """
        parser = self.parser
        old = self._head.is_old
        self._check_count()
        if self._hosts != 1 and (self._hosts or not old):
            raise errors.MalformedRequest("A request has one Host header.")
        if parser.get_method() == b"CONNECT":
            raise errors.MalformedRequest("This server is no proxy: it does not take CONNECT.")
        self._left, self._chunked = framing_of(self.headers, old)
        self._framing, self._tail, self._body_bytes = 0, b"", 0
        self._offers_upgrade = parser.should_upgrade()
        super().on_headers_complete()
        self._stage = BODY
        # Trailers are dropped: what was said in the head stands.
        self.headers = []

    def _check_count(self) -> None:
        if len(self.headers) > self._most_headers:
            raise errors.HeadTooLarge(f"The request has more than {self._most_headers} headers: send fewer.")

    def on_body(self, body: bytes) -> None:
        """Count a part of the body, and hand it to the request."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request that is whole; if it is the connection's last, read nothing after it."""
        if self._offers_upgrade:
            return  # its body is to come
        self._stage = BOUNDARY
        self.parser = self._request_parser
        # After the last request that a client makes on a connection it has nothing to say.
        self._deaf = not self.cycle.keep_alive
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on after an answer as uvicorn does, but set no timer: the sweep closes idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._idle_since = self.loop.time()
        flow = self.flow
        if self._stage == BODY and (self._chunked or self._left > _MOST_SKIPPED):
            # It was answered before its body came: nobody needs to parse that.
            self._linger()
        elif flow.read_paused:
            if flow.held:
                self.loop.call_soon(self._go_on)
            else:
                flow.resume_reading()

    def resume_writing(self) -> None:
        """Write on now that the client takes its answer, and parse what was held back meanwhile."""
        super().resume_writing()
        if self.flow.held:
            self.loop.call_soon(self._go_on)
