"""What clients send: bytes to Requests, one after another.

The reading half of a client's connection, over llhttp. Requests that arrive early wait
in a queue; past a number of them nothing more is taken (RFC 9112 section 9.3.2 lets a
client repeat the rest). Who answers them, and when, is ``downstream``'s business.
"""

from typing import Final

import httptools

from proxy.core.errors import Refused
from proxy.core.message import RawHeaders, Request
from proxy.core.reasons import Reason
from proxy.edge.answer import AnswerWriter
from proxy.edge.body import BodyStream
from proxy.edge.owners import DownstreamOwner
from proxy.edge.waiter import Step

_BODY_FIELDS: Final = frozenset((b"content-length", b"transfer-encoding"))
_NO_HEADERS: Final[RawHeaders] = []

Queued = tuple[Request, Refused | None]
"""A request, and why it is refused unseen; None when it is not."""


class RequestReader(AnswerWriter):
    """A client's connection, as far as it reads."""

    __slots__ = (
        "_asked",
        "_body",
        "_credit",
        "_deaf",
        "_head_bytes",
        "_headers",
        "_held",
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
        # Whether its bytes were asked for, and the seconds that the client has left
        # until they come.
        self._asked = False
        self._credit = 0.0
        self._queue: list[Queued] = []
        # What is being done for the request that is answered, while that waits.
        self._step: Step | None = None
        # Bytes since the last one of a body, and whether no more are parsed.
        self._quiet_bytes = 0
        self._deaf = False
        # What came behind an offer to switch protocols; None while none is open.
        self._held: bytes | None = None
        self._reading_paused = False

    @property
    def peer(self) -> str:
        """The address that the connection comes from; "" for a unix socket."""
        return self._peer[0]

    # -- what the answering half does

    def _refuse_unread(self, refused: Refused) -> None:
        """Answer bytes that never became a request."""

    def _body_wanted(self) -> None:
        """Note that bytes of a body are waited for."""

    # -- bytes

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which stops behind every request for an upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._hold(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._unreadable(error)

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
            secure=self._listener.secure,
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
        self._asked = False
        self._credit = self._listener.limits.body_seconds
        body.wanted = self._body_wanted
        self._body = request.body = body
        return body

    # -- where reading ends

    def _hold(self, rest: bytes) -> None:
        """Parse nothing behind a request for an upgrade until that is answered.

        What follows is HTTP if the offer is declined, and something else if not (RFC
        9110 section 7.8). llhttp ends such a message at its head, so one that says that
        it has a body is refused: its end is not known any more. Behind the last request
        that was taken nothing is parsed at all.
        """
        self._parser = httptools.HttpRequestParser(self)
        request, _ = self._queue[-1]
        self._open = None
        self._deaf = True
        if not request.keep_alive:
            return
        if any(lower in _BODY_FIELDS for lower, _, _ in request.headers):
            request.keep_alive = False
            refused = Refused(Reason.MALFORMED, "An upgrade has no body.")
            self._queue[-1] = request, refused
            return
        request.upgradable = request.version == "1.1"
        self._held = b""
        self._keep(rest)

    def _keep(self, data: bytes) -> None:
        """Keep what came behind a request for an upgrade, and wait with the rest."""
        if data and self._held is not None:
            self._held += data
            self._pause_reading()

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

    def _bound_framing(self, body: BodyStream) -> None:
        """Stop reading what frames a body without end: trailers, chunk extensions."""
        if self._quiet_bytes > self._listener.limits.head_bytes:
            self._deaf = True
            body.fail(Refused(Reason.HEADERS_TOO_LARGE))
            self._answer_no_more()

    def _answer_no_more(self) -> None:
        """Let the last request that was taken be the last of the connection."""
        if self._queue:
            self._queue[-1][0].keep_alive = False
        else:
            self._keep_alive = False

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
