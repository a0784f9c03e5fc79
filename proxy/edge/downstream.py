"""The side that clients connect to: one connection, from its first byte to its last.

One ``DownstreamConnection`` per socket: ``request_reader`` parses, the handler decides,
and ``answer`` frames what it says anew. Requests of one connection are answered one by
one, in order. How long anybody is waited for, and when a connection ends, is here.

No policy lives here. What is refused here is what cannot be read: the handler's
``reject`` makes the answer, so that it has a Reason and is counted like any other.
"""

import asyncio
from typing import Final, cast

from proxy.core.errors import Refused
from proxy.core.headers import value_of
from proxy.core.reasons import Reason
from proxy.core.upgrade import switching_lines
from proxy.edge.owners import DownstreamOwner
from proxy.edge.request_reader import RequestReader
from proxy.edge.tunnel import Switched
from proxy.edge.waiter import step

NEVER: Final = float("inf")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class DownstreamConnection(RequestReader):
    """One connection of one client; an ``asyncio.Protocol`` by its methods.

    Attributes:
        source: the client's address, where a trusted peer said it; None for the peer's.
        deadline: loop time at which the connection has waited long enough for
            whatever it waits for; the listener's sweep looks at it.
    """

    __slots__ = ("_closing", "_half_closed", "deadline", "source")

    def __init__(self, listener: DownstreamOwner, source: str | None = None) -> None:
        super().__init__(listener)
        self.source = source
        self._closing = False
        self._half_closed = False
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
        if self._listener.secure:  # its end is the end of both directions
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
            self._keep(data)
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._head_bytes = len(data)
        self._quiet_bytes += len(data)
        body = self._body
        if body is not None and body.waiting:
            self._earn(len(data))
        self._parse(data)
        if self._in_head:
            self._await_head(began=self._head_bytes == len(data))
        elif self._open is not None:
            self._bound_framing(self._body or self._begin_body(self._open))
        if body is not None:
            body.wake()
        if self._step is None and self._queue:
            self._answer_queued()

    def _await_head(self, *, began: bool) -> None:
        """Bound the size of a head that is not complete, and the wait for its rest."""
        limits = self._listener.limits
        if self._head_bytes > limits.head_bytes:
            self._refuse_unread(Refused(Reason.HEADERS_TOO_LARGE))
        elif began and self._step is None:
            self.deadline = self._listener.now() + limits.head_seconds

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
        elif self._body is not None and self._body.waiting:
            self.deadline = self._listener.now() + self._credit
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set(None)

    # -- requests, one by one

    def _answer_queued(self) -> None:
        while self._queue and self._step is None and not self._closing:
            request, refused = self._queue.pop(0)
            if self._reading_paused and not self._held:
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
        elif self._held is not None and not self._queue:
            self._listener.loop.call_soon(self._decline)

    def _decline(self) -> None:
        """Go on with HTTP behind a request that offered another protocol."""
        held, self._held = self._held, None
        self._deaf = False
        self._resume_reading()
        if held:
            self.data_received(held)

    def switch(self, phrase: bytes, lines: list[bytes], connection: object) -> None:
        """Answer 101, and let bytes pass both ways from now on.

        Args:
            phrase: as in ``send``.
            lines: as in ``send``; those of the switch itself are not among them.
            connection: what the one to the backend became.

        Raises:
            CancelledError: the client is gone.
        """
        if not isinstance(connection, Switched):
            raise TypeError(connection)
        transport = self._transport
        if transport is None or self._half_closed:
            connection.transport.abort()
            self.abort()
            raise asyncio.CancelledError
        self._started = self._closing = True  # to HTTP, this connection is over
        self.deadline = NEVER
        protocol = switching_lines(connection.protocol)
        parts = (b"HTTP/1.1 101 %b\r\n" % phrase, *lines, protocol, b"\r\n")
        transport.write(b"".join(parts))
        held, self._held = self._held or b"", None
        self._listener.tunnels.join(
            transport, self._gone, connection, held=held, paused=self._write_paused
        )

    def _gone(self) -> None:
        """Note the end of a tunnel that this connection was a side of."""
        self._transport = None
        self._listener.closed(self)

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
        """Give the client its time, and ask it if it waits to be asked.

        That is RFC 9110 section 10.1.1; it is asked once.
        """
        request = self._current
        if request is None or self._transport is None:
            return
        self.deadline = self._listener.now() + self._credit
        if self._asked:
            return
        self._asked = True
        expects = value_of(request.headers, b"expect") is not None
        if expects and not self._started and request.version != "1.0":
            self._transport.write(CONTINUE)

    def _earn(self, received: int) -> None:
        """Take the time that bytes took from the client's, and give some for them.

        Without that, a byte a minute would hold a connection to a backend for ever. The
        time that a client waits for us is not counted.
        """
        limits = self._listener.limits
        if not limits.body_rate:
            self._credit = limits.body_seconds
            return
        left = self.deadline - self._listener.now() + received / limits.body_rate
        self._credit = min(limits.body_seconds, left)

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
        """Close the connection unless it is in the middle of something.

        Whoever has just come and asked nothing yet is about to, and gets a moment.
        """
        if self.is_idle:
            self._close()
        elif not self._started and self._step is None:
            limits = self._listener.limits
            self.deadline = min(
                self.deadline, self._listener.now() + limits.linger_seconds
            )

    @property
    def was_opened(self) -> bool:
        """Whether the owner has been told of it, be it over or not."""
        return self._transport is not None or self._closing

    @property
    def is_idle(self) -> bool:
        """Whether an answer was the last thing that happened here."""
        return (
            self._started
            and self._step is None
            and not self._queue
            and not self._in_head
            and not self._closing
        )

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
