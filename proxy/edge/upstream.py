"""One connection to a backend: one exchange at a time.

An answer belongs to one request. A connection that says anything while nobody asked,
or more than its answer, is closed and never used again; so is one whose request was
not wholly sent when the answer ended. Nothing that was received on it reaches
another client.
"""

import asyncio
import select
from typing import Final, cast

import httptools

from proxy.core.errors import Refused
from proxy.core.message import Body, Response, Whole
from proxy.core.reasons import Reason
from proxy.core.upgrade import Offer
from proxy.edge.answer_reader import HEAD_BYTES, AnswerReader
from proxy.edge.body import BodyStream
from proxy.edge.call import Call
from proxy.edge.owners import UpstreamOwner
from proxy.edge.tunnel import Switched
from proxy.edge.waiter import Step, Waiter, step

NEVER: Final = float("inf")
NEWS: Final = select.POLLIN | select.POLLRDHUP
"""What happens to an idle connection that its backend closes, or speaks on."""


class UpstreamConnection(AnswerReader):
    """One connection to one server; an ``asyncio.Protocol`` by its methods.

    Attributes:
        deadline: loop time at which the wait for the backend has been long enough.
        ended: whether either side has closed it.
        reused: whether the exchange under way is not its first.
    """

    __slots__ = (
        "_call",
        "_drained",
        "_paused",
        "_pool",
        "_pump",
        "_sent",
        "_timeouts",
        "_transport",
        "_write_paused",
        "deadline",
        "ended",
        "reused",
    )

    def __init__(self, pool: UpstreamOwner) -> None:
        super().__init__()
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._timeouts = pool.timeouts
        self._call: Call | None = None
        self._drained: Waiter[None] | None = None
        self._pump: Step | None = None
        self._sent = True
        self._paused = False
        self._write_paused = False
        self.deadline = NEVER
        self.ended = False
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
        self.ended = True
        self.deadline = NEVER
        self._pool.lost(self)
        if self._drained is not None:
            self._drained.set(None)
        if self._body is not None and self._framing.until_close and exc is None:
            body, self._body = self._body, None
            body.finish()
            body.wake()
        self._fail(Reason.UPSTREAM_RESET)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; then wake whoever waits for it, once."""
        call, body = self._call, self._body
        if call is None and body is None:
            self._violate()  # Nobody asked.
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(call, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._violate()
        if self._head_bytes > HEAD_BYTES and not self._complete:
            # A head without end, or trailers, which llhttp collects as well.
            self._violate()
        if not self._status or (self._violated and not self._complete):
            # A head that trickles in has first_byte and no more.
            if self._violated:
                self._fail(Reason.UPSTREAM_PROTOCOL)
        elif call is not None:
            self._answer(call)
        elif body is not None:
            if self._complete:
                self._body = None
                self._release()
            else:
                self.deadline = self._pool.now() + self._timeouts.idle
            body.wake()

    def _answer(self, call: Call) -> None:
        """Give the answer, whose head has come, to whoever asked."""
        self._call = None
        chunks, self._chunks = self._chunks, []
        response = Response(
            self._status,
            self._phrase,
            self._headers,
            length=self._framing.length,
            bodiless=self._framing.bodiless,
        )
        if self._pool.failures:
            self._pool.failures = 0
        if self._complete:
            if chunks:
                response.body = Whole(b"".join(chunks))
            self._release()  # from here on this is another exchange's connection
        else:
            self.deadline = self._pool.now() + self._timeouts.idle
            response.body = self._body = BodyStream(self._pause, self._resume)
            self._body.abandoned = self._abandon
            for chunk in chunks:
                self._body.feed(chunk)
        call.set(response)

    def _switch(self, call: Call | None, early: bytes) -> None:
        """Give a 101 to whoever asked for it; this is no HTTP any more."""
        offer = None if call is None else call.body
        transport = self._transport
        if call and transport and isinstance(offer, Offer) and not self._violated:
            taken = offer.taken(self._headers)
            if taken is not None:
                self._call = None
                self.deadline = NEVER
                switched = Switched(transport, early, offer, taken, self._gone)
                call.set(switched.answer(self._phrase, self._headers))
                if switched.joined:
                    return
        self._violate()
        self._fail(Reason.UPSTREAM_PROTOCOL)

    def _gone(self) -> None:
        """Note the end of a tunnel that this connection was a side of."""
        self._transport = None
        self.ended = True
        self._pool.lost(self)

    def pause_writing(self) -> None:
        """Note that the backend does not take what was written to it."""
        self._write_paused = True

    def eof_received(self) -> bool:
        """Let the transport close itself: a backend that is done is done."""
        self.ended = True
        return False

    def is_stale(self) -> bool:
        """Say whether the backend has closed the connection, or said something.

        Asks the system: what has arrived may not have been read yet.
        """
        transport = self._transport
        if transport is None or self.ended or transport.is_closing():
            return True
        poller = select.poll()
        poller.register(transport.get_extra_info("socket").fileno(), NEWS)
        return bool(poller.poll(0))

    def resume_writing(self) -> None:
        """Let the pump write on."""
        self._write_paused = False
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set(None)

    # -- one exchange

    def start(self, call: Call) -> None:
        """Send a request; its answer, or what went wrong, goes to the call."""
        transport = self._transport
        if transport is None:
            self._pool.broken(call, reused=self.reused, answered=False)
            return
        self._call = call
        call.connection = self
        self._timeouts = call.timeouts
        self._method = call.method
        self._status = 0
        self._complete = False
        self._head_bytes = 0
        self._interim = 0
        self.deadline = self._pool.now() + call.timeouts.first_byte
        head, body = call.head, call.body
        if isinstance(body, bytes):
            self._sent = True
            transport.write(head + body if body else head)
        elif isinstance(body, Offer):
            self._sent = True
            transport.write(head)
        else:
            self._sent = False
            self.deadline = NEVER  # the client has its own for what it sends
            transport.write(head)
            self._pump = step(
                self._send_body(transport, body, chunked=call.chunked), self._pumped
            )

    async def _send_body(
        self, transport: asyncio.Transport, body: Body, *, chunked: bool
    ) -> None:
        while chunk := await body.read():
            if chunked:
                transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            else:
                transport.write(chunk)
            if self._write_paused:
                self._await_backend(self._timeouts.idle)
                self._drained = Waiter()
                await self._drained
                self._await_backend(NEVER)
        if chunked:
            transport.write(b"0\r\n\r\n")
        self._sent = True
        self._await_backend(self._timeouts.first_byte)

    def _await_backend(self, seconds: float) -> None:
        """Give the backend its time, unless its answer has begun and has its own."""
        if not self._status:
            self.deadline = self._pool.now() + seconds

    def _pumped(self, error: BaseException | None) -> None:
        """Give up an exchange whose request body broke off."""
        self._pump = None
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        call, self._call = self._call, None
        self.close()
        if call is not None:
            call.fail(error)

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self._fail(Reason.UPSTREAM_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Break the connection; it is never used again."""
        self.deadline = NEVER
        self.ended = True
        if self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _abandon(self) -> None:
        """Break off an answer that nobody reads any more."""
        self._body = None
        self.close()

    def _violate(self) -> None:
        self._violated = True
        self.close()

    def _fail(self, reason: Reason) -> None:
        call, self._call = self._call, None
        body, self._body = self._body, None
        if body is not None:
            self._pool.failed()
            body.fail(Refused(reason))
        if call is None or call.done:
            return  # whoever asked is gone
        if reason is Reason.UPSTREAM_RESET:
            answered = self._head_bytes > 0
            self._pool.broken(call, reused=self.reused, answered=answered)
        else:
            self._pool.failed()
            call.fail(Refused(reason))

    def _release(self) -> None:
        """Give the connection back after a whole answer, if it can be used again."""
        if not (
            self._sent
            and self._framing.keep_alive
            and not self._violated
            and self._transport is not None
        ):
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
