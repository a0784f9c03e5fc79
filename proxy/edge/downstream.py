"""The side that clients connect to: bytes to Requests, answers to bytes.

One ``DownstreamConnection`` per socket: llhttp parses, the handler decides, and the
answer is framed anew (RFC 9112). Requests of one connection are answered one by one, in
order; those that arrive early wait, and past a number of them the connection is
closed after the last one taken (section 9.3.2 lets a client repeat the rest).

No policy lives here. What is refused here is what cannot be read: the handler's
``reject`` makes the answer, so that it has a Reason and is counted like any other.
"""

import asyncio
from typing import Final, cast

import httptools

from proxy.core.errors import Refused
from proxy.core.headers import value_of
from proxy.core.message import RawHeaders, Request
from proxy.core.reasons import Reason
from proxy.edge.answer import AnswerWriter
from proxy.edge.body import BodyStream
from proxy.edge.owners import DownstreamOwner
from proxy.edge.waiter import Step, step

NEVER: Final = float("inf")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


_BODY_FIELDS: Final = frozenset((b"content-length", b"transfer-encoding"))
_NO_HEADERS: Final[RawHeaders] = []

_Queued = tuple[Request, Refused | None]
"""A request, and why it is refused unseen; None when it is not."""


class DownstreamConnection(AnswerWriter):
    """One connection of one client; an ``asyncio.Protocol`` by its methods.

    Attributes:
        deadline: loop time at which the connection has waited long enough for
            whatever it waits for; the listener's sweep looks at it.
    """

    __slots__ = (
        "_body",
        "_closing",
        "_deaf",
        "_half_closed",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_listener",
        "_open",
        "_parser",
        "_peer",
        "_queue",
        "_quiet_bytes",
        "_reading_paused",
        "_step",
        "_target",
        "deadline",
    )

    def __init__(self, listener: DownstreamOwner) -> None:
        super().__init__()
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._peer = ("", False)
        self._headers = _NO_HEADERS
        self._target = b""
        self._in_head = False
        self._head_bytes = 0
        # The request whose message is not complete, and its body if that has begun.
        self._open: Request | None = None
        self._body: BodyStream | None = None
        self._queue: list[_Queued] = []
        self._step: Step | None = None
        self._closing = False
        self._half_closed = False
        # Bytes since the last one of a body, and whether no more are read for good.
        self._quiet_bytes = 0
        self._deaf = False
        self._reading_paused = False
        self.deadline = NEVER

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection."""
        # uvloop's transports only look like asyncio's.
        stream = self._transport = cast("asyncio.Transport", transport)
        self._peer = self._listener.opened(self, stream)
        self.deadline = self._listener.now() + self._listener.limits.head_seconds

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Cancel whatever is being done for a client that left."""
        self._closing = True
        self._transport = None
        self.deadline = NEVER
        self._queue.clear()
        self._listener.closed(self)
        if self._step is not None:
            self._step.cancel()

    def eof_received(self) -> bool:
        """Go on answering a client that closed its sending side, for a while.

        It may be a half-close or a client that left: only a write would tell.
        """
        if (self._step is None and not self._queue) or self._closing:
            return False
        self._answer_no_more()
        self._half_closed = True
        self.deadline = self._listener.now() + self._listener.limits.half_close_seconds
        if self._body is not None:
            self._body.fail(Refused(Reason.MALFORMED, "The body ended early."))
        return True

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and start on it when nothing is being answered."""
        if self._closing or self._deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._head_bytes = len(data)
        self._quiet_bytes += len(data)
        body = self._body
        self._parse(data)
        if self._in_head:
            self._await_head(began=self._head_bytes == len(data))
        elif self._open is not None:
            self._bound_framing(self._body or self._begin_body(self._open))
        if body is not None:
            body.wake()
            if body.waiting:
                self.await_body()
        if self._step is None and self._queue:
            self._answer_queued()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which stops behind every request for an upgrade."""
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._after_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError as error:
                self._unreadable(error)
                return
            else:
                return

    def _await_head(self, *, began: bool) -> None:
        """Bound the size of a head that is not complete, and the wait for its rest."""
        limits = self._listener.limits
        if self._head_bytes > limits.head_bytes:
            self._refuse_unread(Refused(Reason.HEADERS_TOO_LARGE))
        elif began and self._step is None:
            self.deadline = self._listener.now() + limits.head_seconds

    def _bound_framing(self, body: BodyStream) -> None:
        """Stop reading what frames a body without end: trailers, chunk extensions."""
        if self._quiet_bytes > self._listener.limits.head_bytes:
            self._deaf = True
            body.fail(Refused(Reason.HEADERS_TOO_LARGE))
            self._answer_no_more()

    def pause_writing(self) -> None:
        """Note that the client does not take what was written to it."""
        self._write_paused = True
        self.deadline = self._listener.now() + self._listener.limits.write_seconds

    def resume_writing(self) -> None:
        """Let the handler write on."""
        self._write_paused = False
        self.deadline = NEVER
        if self._half_closed:
            limits = self._listener.limits
            self.deadline = self._listener.now() + limits.half_close_seconds
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set(None)

    # -- what llhttp calls

    def on_message_begin(self) -> None:
        """Forget the last message."""
        self._headers = []
        self._target = b""
        self._in_head = True

    def on_url(self, target: bytes) -> None:
        """Note the request target."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field line; a trailer is read and dropped (RFC 9110 section 6.5.1)."""
        if self._in_head:
            self._headers.append((name.lower(), name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Queue the request: its head is known."""
        self._in_head = False
        parser = self._parser
        address, trusted = self._peer
        request = Request(
            str(parser.get_method(), "ascii"),
            str(self._target, "ascii"),
            parser.get_http_version(),
            self._headers,
            peer=address,
            peer_trusted=trusted,
            keep_alive=parser.should_keep_alive(),
        )
        self._headers = _NO_HEADERS
        self._open = request
        self._quiet_bytes = 0
        queue, limits = self._queue, self._listener.limits
        if len(queue) < limits.pipelined:
            queue.append((request, limits.refusal(request, self._head_bytes)))
        else:
            self._answer_no_more()
        if self._step is not None or len(queue) > 1:
            self._pause_reading()

    def on_body(self, chunk: bytes) -> None:
        """Hand bytes of the body to whoever reads them."""
        self._quiet_bytes = 0
        if self._open is not None:
            (self._body or self._begin_body(self._open)).feed(chunk)

    def on_message_complete(self) -> None:
        """End the body."""
        self._open = None
        if self._body is not None:
            self._body.finish()
            self._body = None

    def _begin_body(self, request: Request) -> BodyStream:
        body = BodyStream(self._pause_reading, self._resume_reading)
        body.wanted = self._body_wanted
        self._body = request.body = body
        return body

    # -- requests, one by one

    def _answer_queued(self) -> None:
        while self._queue and self._step is None and not self._closing:
            request, refused = self._queue.pop(0)
            if self._reading_paused:
                self._resume_reading()
            if not self._half_closed:
                self.deadline = NEVER
            self._current = request
            self._started = False
            self._keep_alive = request.keep_alive
            if refused is not None:
                self._listener.handler.reject(refused, self)
                self._answered(None)
                continue
            running = step(self._listener.handler.handle(request, self), self._answered)
            if not running.done:
                self._step = running

    def _answered(self, error: BaseException | None) -> None:
        """Go on with the connection after an answer, or without one."""
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._listener.failed(error)
        waited = self._step is not None
        self._step = None
        self._current = None
        if self._closing:
            return
        # An answer whose head went out before the drain began could not announce it.
        if not self._keep_alive or self._listener.leaving:
            self._close()
            return
        limits = self._listener.limits
        self.deadline = self._listener.now() + (
            limits.head_seconds if self._in_head else limits.idle_seconds
        )
        if waited and self._queue:
            # In its own turn, so that a long pipeline is no deep stack.
            self._listener.loop.call_soon(self._answer_queued)

    def _after_upgrade(self, rest: bytes) -> bytes:
        """Return what is parsed next after a request that asked for an upgrade.

        llhttp ends such a message at its head. Upgrade is declined by answering it as
        an ordinary request (RFC 9110 section 7.8), which has no body: one that says it
        has is refused, for its end is not known any more. Behind the last request that
        was taken nothing is parsed at all.
        """
        self._parser = httptools.HttpRequestParser(self)
        self._open = None
        request, _ = self._queue[-1]
        if not request.keep_alive:
            return b""
        if any(lower in _BODY_FIELDS for lower, _, _ in request.headers):
            request.keep_alive = False
            refused = Refused(Reason.MALFORMED, "An upgrade has no body.")
            self._queue[-1] = request, refused
            return b""
        return rest

    def _unreadable(self, error: httptools.HttpParserError) -> None:
        if self._open is not None:
            (self._body or self._begin_body(self._open)).fail(
                Refused(Reason.MALFORMED, "The framing of the body is broken.")
            )
            self._answer_no_more()
        elif self._queue or self._step is not None:
            self._answer_no_more()  # what could be read is answered; the rest is noise
        else:
            self._refuse_unread(Refused(Reason.MALFORMED, f"{error}."))

    def _answer_no_more(self) -> None:
        """Let the last request that was taken be the last of the connection."""
        if self._queue:
            self._queue[-1][0].keep_alive = False
        else:
            self._keep_alive = False

    def _refuse_unread(self, refused: Refused) -> None:
        """Answer bytes that never became a request, once, and close."""
        if self._closing or self._step is not None or self._queue:
            return
        self._started = False
        self._keep_alive = False
        self._listener.handler.reject(refused, self)
        self._close()

    def _is_last(self) -> bool:
        return self._listener.draining

    # -- bodies

    def _body_wanted(self) -> None:
        """Ask for a body that waits to be asked (RFC 9110 section 10.1.1)."""
        request = self._current
        if request is None or self._transport is None:
            return
        self.await_body()
        expects = value_of(request.headers, b"expect") is not None
        if expects and not self._started and request.version != "1.0":
            self._transport.write(CONTINUE)

    def await_body(self) -> None:
        """Give the client its time to send the next part of the body."""
        self.deadline = self._listener.now() + self._listener.limits.body_seconds

    # -- the end

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self.deadline = NEVER
        if self._closing or self._write_paused or self._half_closed:
            self.abort()
        elif self._body is not None and self._body.waiting:
            self._body.fail(
                Refused(Reason.REQUEST_TIMEOUT, "The body did not arrive in time.")
            )
        elif self._step is None:
            if self._in_head:
                self._refuse_unread(Refused(Reason.REQUEST_TIMEOUT))
            else:
                self._close()

    def close_if_idle(self) -> None:
        """Close the connection unless it is in the middle of something."""
        if self._step is None and not self._queue and not self._in_head:
            self._close()

    def _close(self) -> None:
        transport = self._transport
        if transport is None or self._closing:
            return
        self._closing = True
        if self._open is None and not self._in_head:
            transport.close()
            return
        # More is on its way. Closing now would reset the connection and could take our
        # answer with it, so say that we are done and drop what comes (section 9.6).
        self._resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        self.deadline = self._listener.now() + self._listener.limits.linger_seconds

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
