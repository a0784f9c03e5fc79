"""One connection to a backend: one exchange at a time.

An answer belongs to one request. A connection that says anything while nobody asked,
or more than its answer, is closed and never used again; so is one whose request was
not wholly sent when the answer ended. Nothing that was received on it reaches
another client.

"""

import asyncio
from typing import Protocol, cast

import httptools

from proxy.core.errors import Refused
from proxy.core.message import Body, RawHeaders, Response
from proxy.core.policy import Timeouts
from proxy.core.reasons import Reason
from proxy.edge.body import BodyStream
from proxy.edge.waiter import Step, Waiter, step

NEVER = float("inf")
HEAD_BYTES = 64 * 1024
"""The largest head of an answer; twice what is taken from clients (cookies)."""
FIRST_FINAL, LAST_STATUS, SWITCHING = 200, 599, 101
INTERIM = 16
"""How many 1xx answers may precede an answer."""


class Owner(Protocol):
    """The pool that a connection belongs to."""

    timeouts: Timeouts

    def now(self) -> float:
        """Return the loop's time."""
        ...

    def opened(self, connection: "UpstreamConnection") -> None:
        """Note a connection that stands."""
        ...

    def release(self, connection: "UpstreamConnection") -> None:
        """Take a connection back after an exchange."""
        ...

    def lost(self, connection: "UpstreamConnection") -> None:
        """Forget a connection."""
        ...


class BrokenConnection(Exception):
    """The connection ended before its answer's head."""

    def __init__(self, *, answered: bool) -> None:
        super().__init__()
        self.answered = answered


class UpstreamConnection(asyncio.Protocol):
    """One connection to one server.

    Attributes:
        deadline: loop time at which the wait for the backend has been long enough.
        reused: whether the exchange under way is not its first.
    """

    __slots__ = (
        "_body",
        "_drained",
        "_head_bytes",
        "_headers",
        "_interim",
        "_keep_alive",
        "_length",
        "_method",
        "_parser",
        "_paused",
        "_phrase",
        "_pool",
        "_pump",
        "_response",
        "_sent",
        "_timeouts",
        "_transport",
        "_until_close",
        "_violated",
        "_waiter",
        "_write_paused",
        "deadline",
        "reused",
    )

    def __init__(self, pool: Owner) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._timeouts = pool.timeouts
        self._waiter: Waiter[Response] | None = None
        self._drained: Waiter[None] | None = None
        self._pump: Step | None = None
        self._response: Response | None = None
        self._body: BodyStream | None = None
        self._headers: RawHeaders = []
        self._phrase = b""
        self._method = ""
        self._length: int | None = None
        self._head_bytes = 0
        self._interim = 0
        self._keep_alive = True
        self._sent = True
        self._until_close = False
        self._paused = False
        self._violated = False
        self._write_paused = False
        self.deadline = NEVER
        self.reused = False

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        # uvloop's transports only look like asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End whatever was being received."""
        self._transport = None
        self.deadline = NEVER
        self._pool.lost(self)
        if self._drained is not None:
            self._drained.set(None)
        if self._body is not None and self._until_close and exc is None:
            body, self._body = self._body, None
            body.finish()
            body.wake()
        self._fail(Reason.UPSTREAM_RESET)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; then wake whoever waits for it, once."""
        if self._waiter is None and self._body is None:
            self._violate()  # Nobody asked.
            return
        self.deadline = self._pool.now() + self._timeouts.idle
        if self._response is None:
            self._head_bytes += len(data)
        body = self._body
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._violate()
        if self._response is None and self._head_bytes > HEAD_BYTES:
            self._violate()
        response = self._response
        if response is None or (self._violated and self._body is not None):
            if self._violated:
                self._fail(Reason.UPSTREAM_PROTOCOL)
            return
        waiter, self._waiter = self._waiter, None
        if self._body is None:
            self._release()
        if waiter is not None:
            waiter.set(response)
        elif body is not None:
            body.wake()

    def pause_writing(self) -> None:
        """Note that the backend does not take what was written to it."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let the pump write on."""
        self._write_paused = False
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set(None)

    # -- what llhttp calls

    def on_message_begin(self) -> None:
        """Begin an answer; a second one that nobody asked for is a violation."""
        if self._response is not None:
            self._violated = True
        self._headers = []
        self._phrase = b""

    def on_status(self, phrase: bytes) -> None:
        """Note the reason phrase."""
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field line; trailers are dropped."""
        if self._response is None:
            self._headers.append((name.lower(), name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is known: make the Response, unless it is an interim one."""
        status = self._parser.get_status_code()
        if self._response is not None:
            self._violated = True
            return
        if status < FIRST_FINAL:
            self._interim += 1
            if status == SWITCHING or self._interim > INTERIM:
                self._violated = True
            return
        bodiless = self._method == "HEAD" or status in (204, 304)
        framing = _framing(self._headers, self._parser.get_http_version())
        if framing is None or status > LAST_STATUS:
            self._violated = True
            return
        length, chunked, self._keep_alive = framing
        body = BodyStream(self._pause, self._resume)
        body.abandoned = self.close
        self._until_close = not bodiless and length is None and not chunked
        self._response = Response(
            status, self._phrase, self._headers, body, length, bodiless
        )
        self._body = body
        if bodiless:
            body.finish()
            self._body = None

    def on_body(self, chunk: bytes) -> None:
        """Hand bytes of the body to whoever reads them."""
        if self._body is None:
            self._violated = True  # A body where there can be none.
        else:
            self._body.feed(chunk)

    def on_message_complete(self) -> None:
        """End the body."""
        if self._response is not None and self._body is not None:
            self._body.finish()
            self._body = None

    # -- one exchange

    async def exchange(
        self,
        method: str,
        head: bytes,
        body: bytes | Body,
        timeouts: Timeouts,
        *,
        chunked: bool,
    ) -> Response:
        """Send a request and return the answer once its head has come.

        Raises:
            BrokenConnection: the connection ended first.
            Refused: the backend was too slow, or broke the protocol.
        """
        transport = self._transport
        if transport is None:
            raise BrokenConnection(answered=False)
        self._timeouts = timeouts
        self._method = method
        self._response = None
        self._head_bytes = 0
        self._interim = 0
        waiter: Waiter[Response] = Waiter()
        self._waiter = waiter
        self.deadline = self._pool.now() + timeouts.first_byte
        if isinstance(body, bytes):
            self._sent = True
            transport.write(head + body if body else head)
        else:
            self._sent = False
            transport.write(head)
            self._pump = step(
                self._send_body(transport, body, chunked=chunked), self._pump_failed
            )
        try:
            return await waiter
        except asyncio.CancelledError:
            self.close()
            raise

    async def _send_body(
        self, transport: asyncio.Transport, body: Body, *, chunked: bool
    ) -> None:
        while chunk := await body.read():
            if chunked:
                transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            else:
                transport.write(chunk)
            self.deadline = self._pool.now() + self._timeouts.idle
            if self._write_paused:
                self._drained = Waiter()
                await self._drained
        if chunked:
            transport.write(b"0\r\n\r\n")
        self._sent = True
        if self._response is None:
            self.deadline = self._pool.now() + self._timeouts.first_byte

    def _pump_failed(self, error: BaseException) -> None:
        """Give up an exchange whose request body broke off."""
        waiter, self._waiter = self._waiter, None
        self.close()
        if waiter is not None:
            waiter.fail(error)

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self._fail(Reason.UPSTREAM_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Break the connection; it is never used again."""
        self.deadline = NEVER
        if self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _violate(self) -> None:
        self._violated = True
        self.close()

    def _fail(self, reason: Reason) -> None:
        waiter, self._waiter = self._waiter, None
        body, self._body = self._body, None
        if waiter is not None:
            if reason is Reason.UPSTREAM_RESET:
                answered = self._head_bytes > 0
                waiter.fail(BrokenConnection(answered=answered))
            else:
                waiter.fail(Refused(reason))
        if body is not None:
            body.fail(Refused(reason))

    def _release(self) -> None:
        """Give the connection back after a whole answer, if it can be used again."""
        self.deadline = NEVER
        reusable = (
            self._sent
            and not self._violated
            and not self._until_close
            and self._keep_alive
        )
        if self._pump is not None:
            if self._sent:
                self._pump = None
            else:
                self.close()
                return
        if not reusable or self._transport is None:
            self.close()
            return
        if self._method == "HEAD":  # llhttp still waits for the body it announced
            self._parser = httptools.HttpResponseParser(self)
        self._pool.release(self)

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self.deadline = self._pool.now() + self._timeouts.idle
            self._transport.resume_reading()


def _framing(headers: RawHeaders, version: str) -> tuple[int | None, bool, bool] | None:
    """Return (length, chunked, keep alive) as a header section says; None if unclear.

    Asked here and not of llhttp, which does not know that an answer to HEAD has no
    body, and forgets what it read once a message is complete.
    """
    length: int | None = None
    chunked = False
    keep_alive = version == "1.1"
    for lower, _, value in headers:
        if lower == b"content-length":
            if length is not None or not value.isdigit():
                return None
            length = int(value)
        elif lower == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                return None
            chunked = True
        elif lower == b"connection":
            tokens = [token.strip() for token in value.lower().split(b",")]
            keep_alive = b"close" not in tokens and (
                keep_alive or b"keep-alive" in tokens
            )
    if chunked and length is not None:
        return None
    return length, chunked, keep_alive
