"""Two connections that became one stream of bytes each way (RFC 9110 section 7.8).

After a 101 neither side speaks HTTP any more, so each transport is given one end of a
tunnel as its protocol: what an end receives is written to the other side, and a side
that does not take it stops the other from being read. So memory is bounded by the
buffers of two transports, and nobody waits: a tunnel is no coroutine.

Nothing is read into the bytes but one thing. A WebSocket that the proxy ends is told
why, in a Close frame each way, and such a frame has to stand between two others.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final, cast

from proxy.core.message import RawHeaders, Response
from proxy.core.upgrade import WEBSOCKET, Offer
from proxy.core.websocket import FrameCursor, close_frame

NEVER: Final = float("inf")
CLOSE_SECONDS: Final = 10.0
"""What both sides get to answer and leave, once they were told of the end."""
MANY_FRAMES: Final = 1024
"""In what was received at once; others get their turn before more is read."""
LEAVE_SECONDS: Final = 60.0
"""What a side gets to take the rest of what the other one sent before it left."""


class Switched:
    """A connection to a backend that answered 101, until a tunnel takes it over.

    Args:
        transport: open; what is received on it is not read as HTTP any more.
        early: what the backend sent behind its answer.
        offer: what the client asked for.
        protocol: which of its protocols the backend took, in lower case.
        over: called once when the connection has ended.

    Attributes:
        joined: whether a tunnel has taken it over.
    """

    __slots__ = ("early", "joined", "offer", "over", "protocol", "transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        early: bytes,
        offer: Offer,
        protocol: bytes,
        over: Callable[[], object],
    ) -> None:
        self.transport = transport
        self.early = early
        self.offer = offer
        self.protocol = protocol
        self.over = over
        self.joined = False

    def answer(self, phrase: bytes, headers: RawHeaders) -> Response:
        """Return the 101, with this connection in it."""
        response = Response(101, phrase, headers, length=None, bodiless=True)
        response.switched = self
        return response


class TunnelEnd:
    """One side of a tunnel; an ``asyncio.Protocol`` by its methods.

    Attributes:
        name: "client" or "backend".
        transport: of this side.
        other: the end of the other side.
        done: whether what this side sends is not passed on any more.
        left: whether this side has said that it sends nothing more.
    """

    __slots__ = (
        "_cursor",
        "_ended",
        "_last",
        "_over",
        "_resting",
        "_tunnel",
        "_wanted",
        "done",
        "left",
        "name",
        "other",
        "transport",
    )

    def __init__(
        self,
        tunnel: "Tunnel",
        name: str,
        transport: asyncio.Transport,
        over: Callable[[], object],
    ) -> None:
        self.name = name
        self.transport = transport
        self.other: TunnelEnd = self
        self.done = False
        self.left = False
        self._ended = False
        # Whether this side is to be read, and whether others get their turn before it.
        self._wanted = True
        self._resting = False
        self._tunnel = tunnel
        self._over = over
        # Where frames end in what this side sends, and the frame that is to be the
        # last of them once that is known.
        self._cursor = FrameCursor() if tunnel.websocket else None
        self._last: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, unless this side has nothing more to say."""
        self._tunnel.touch()
        cursor = self._cursor
        if cursor is None:
            if not self.done:
                self._pass_on(data)
        elif self._last is None:
            if cursor.advance(data) > MANY_FRAMES:
                self._rest()
            self._pass_on(data)
        else:
            self._pass_on_until_whole(cursor, data)

    def _pass_on(self, data: bytes) -> None:
        other = self.other.transport
        if not other.is_closing():
            other.write(data)

    def _pass_on_until_whole(self, cursor: FrameCursor, data: bytes) -> None:
        """Pass the rest of a frame on; what follows is dropped, but for its end.

        A side that has answered the Close frame that it got needs this connection no
        more (RFC 6455 section 7.1.1).
        """
        begin = 0
        if not self.done:
            begin = cursor.step(data)
            self._pass_on(data[:begin])
            self._end_if_whole()
        if cursor.advance(data[begin:]) > MANY_FRAMES:
            self._rest()
        if cursor.closed and self.other.done:
            self.other.end_other()

    def end_with(self, frame: bytes) -> None:
        """Let ``frame`` be the last that the other side gets, behind a whole one."""
        if self._last is None and not self.done:
            self._last = frame
            self._end_if_whole()

    def _end_if_whole(self) -> None:
        cursor, answer = self._cursor, self.other.said_close
        if cursor is not None and not cursor.between_frames:
            return
        if self._last and cursor and not cursor.closed:
            self._pass_on(self._last)
        self.done = True
        if cursor is None or answer:
            self.end_other()
        self.read(on=True)  # to see this side leave

    @property
    def said_close(self) -> bool:
        """Whether this side has sent a Close frame."""
        return self._cursor is not None and self._cursor.closed

    def end_other(self) -> None:
        """Close our sending half of the other side's connection, once.

        Over TLS there are no halves: all of it is closed, behind what was written.
        """
        self.done = True
        other = self.other.transport
        if not self._ended and not other.is_closing():
            if other.can_write_eof():
                other.write_eof()
            else:
                other.close()
        self._ended = True

    def read(self, *, on: bool) -> None:
        """Go on reading this side, or stop."""
        self._wanted = on or self.done
        if self.left or self._resting or self.transport.is_closing():
            return
        if self._wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _rest(self) -> None:
        """Read no more before others had their turn: stepping over frames takes time.

        Frames of a few bytes would keep the loop busy for as long as they come.
        """
        if not self._resting and not self.transport.is_closing():
            self._resting = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self._wanted:
            self.read(on=True)

    def pause_writing(self) -> None:
        """Stop the other side: this one does not take what was written to it."""
        self.other.read(on=False)

    def resume_writing(self) -> None:
        """Let the other side go on."""
        self.other.read(on=True)

    def eof_received(self) -> bool:
        """Pass the end of one direction on; the other one may still be needed."""
        self.left = True
        self._tunnel.ended_by(self.name)
        if not self.done:
            self.end_other()
        return not self.other.done

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side: what is written already is still sent to it.

        One that was told of the end leaves by itself, and may not have read it yet.
        """
        self.done = True
        self._tunnel.ended_by(self.name)
        if exc is not None:
            self.other.transport.abort()
        elif self.other.left or not self._tunnel.closing:
            self.other.transport.close()
        self._over()
        self._tunnel.lost()


class Tunnel:
    """Bytes between a client and a backend, until one of them ends it.

    Args:
        client: the transport of the client.
        client_over: called once when that connection has ended.
        backend: what the connection to the backend became.
        now: the loop's time, in seconds.
        over: called once, with the tunnel, when both connections have ended.
        close_seconds: what both sides get to leave, once they were told of the end.

    Attributes:
        offer: who opened it, by which rule, on which terms.
        websocket: whether the protocol is WebSocket.
        closing: whether the proxy has told both sides that it is over.
        reason: who or what ended it: "client", "backend", or what ``close`` was given;
            "" while nobody has.
        seen: the loop's time when there was a sign of life.
        deadline: the loop's time at which it is broken off.
    """

    __slots__ = (
        "_backend",
        "_client",
        "_close_seconds",
        "_now",
        "_open",
        "_over",
        "closing",
        "deadline",
        "offer",
        "reason",
        "seen",
        "websocket",
    )

    def __init__(
        self,
        client: asyncio.Transport,
        client_over: Callable[[], object],
        backend: Switched,
        *,
        now: Callable[[], float],
        over: Callable[["Tunnel"], object],
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self.offer = backend.offer
        self.websocket = backend.protocol == WEBSOCKET
        self.closing = False
        self.reason = ""
        self.seen = now()
        self.deadline = NEVER
        self._now = now
        self._over = over
        self._close_seconds = close_seconds
        self._open = 2
        backend.joined = True
        self._client = TunnelEnd(self, "client", client, client_over)
        self._backend = TunnelEnd(self, "backend", backend.transport, backend.over)
        self._client.other, self._backend.other = self._backend, self._client

    def begin(self, to_backend: bytes, to_client: bytes, *, paused: bool) -> None:
        """Take the two connections over.

        Args:
            to_backend: what the client sent before it was answered.
            to_client: what the backend sent behind its answer.
            paused: whether the client has not taken yet what was written to it.
        """
        for end in (self._client, self._backend):
            end.transport.set_protocol(cast("asyncio.Protocol", end))
        if paused:
            self._backend.read(on=False)
        self._client.read(on=True)
        if to_client:
            self._backend.data_received(to_client)
        if to_backend:
            self._client.data_received(to_backend)

    def touch(self) -> None:
        """Note a sign of life."""
        self.seen = self._now()

    def ended_by(self, name: str) -> None:
        """Note which side has ended it, or one direction of it.

        A WebSocket has no use for half a connection; what has gets all the time.
        """
        self.touch()
        if not self.reason:
            self.reason = name
        if self.websocket:
            self.deadline = min(self.deadline, self.seen + LEAVE_SECONDS)

    def lost(self) -> None:
        """Note that a connection has ended; the tunnel is over with the second."""
        self._open -= 1
        self.deadline = min(self.deadline, self._now() + LEAVE_SECONDS)
        if self._open == 0:
            self._over(self)

    def close(self, reason: str, code: int) -> None:
        """End it, telling both sides where they can be told.

        Args:
            reason: a word for metrics.
            code: what a WebSocket's Close frame says.
        """
        if self.closing:
            return
        self.closing = True
        self.reason = self.reason or reason
        self.deadline = self._now() + self._close_seconds
        self._backend.end_with(close_frame(code))
        self._client.end_with(close_frame(code, os.urandom(4)))

    def abort(self) -> None:
        """Break both connections."""
        self.deadline = NEVER
        self._client.transport.abort()
        self._backend.transport.abort()
