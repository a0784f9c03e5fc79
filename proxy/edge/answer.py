"""An answer on its way to a client: framed anew, with back-pressure.

Framing follows the client's version and the answer's length (RFC 9112 section 6), never
what a backend wrote. Who decides what is answered is not known here.
"""

import asyncio
from typing import Final

from proxy.core.message import Request
from proxy.edge.waiter import Waiter

NO_CONTENT: Final = 204
BODILESS: Final = frozenset((NO_CONTENT, 304))
"""Statuses whose answers have no body (RFC 9110 section 6.4.1)."""


class AnswerWriter:
    """The writing half of a client's connection.

    Attributes:
        chunked: whether the body being written is framed in chunks.
    """

    __slots__ = (
        "_current",
        "_drained",
        "_keep_alive",
        "_started",
        "_transport",
        "_write_paused",
        "chunked",
    )

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._current: Request | None = None
        self._keep_alive = True
        self._started = False
        self._write_paused = False
        self._drained: Waiter[None] | None = None
        self.chunked = False

    def _is_last(self) -> bool:
        """Whether the connection is to be closed after this answer anyway."""
        return False

    @property
    def method(self) -> str:
        """The method of the request being answered; "" when none could be read."""
        return "" if self._current is None else self._current.method

    @property
    def accept(self) -> bytes:
        """The values of Accept of the request being answered; b"" for none."""
        headers = [] if self._current is None else self._current.headers
        return b",".join(value for lower, _, value in headers if lower == b"accept")

    @property
    def started(self) -> bool:
        """Whether the head of the answer has been written."""
        return self._started

    def send(self, status: int, phrase: bytes, lines: list[bytes], body: bytes) -> None:
        """Write a whole answer.

        Args:
            status: 200 to 599.
            phrase: the reason phrase.
            lines: field lines with their CRLF, none of them framing.
            body: all of it; not written, but counted, where the answer to this
                method or with this status has none.
        """
        self.start(status, phrase, lines, len(body), body)

    def start(
        self,
        status: int,
        phrase: bytes,
        lines: list[bytes],
        length: int | None,
        body: bytes = b"",
    ) -> None:
        """Write the head of an answer, framed for this client.

        Args:
            status: as in ``send``.
            phrase: as in ``send``.
            lines: as in ``send``.
            length: of the body in bytes; None when it is not known.
            body: the bytes of it that are there already.
        """
        transport = self._transport
        if transport is None:
            return
        request = self._current
        self._started = True
        self.chunked = False
        if request is not None and not request.body.complete:
            self._keep_alive = False
        if self._is_last():
            self._keep_alive = False
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, phrase), *lines]
        bodiless = status in BODILESS or (
            request is not None and request.method == "HEAD"
        )
        if length is not None:
            if status != NO_CONTENT:  # RFC 9110 section 8.6
                parts.append(b"Content-Length: %d\r\n" % length)
        elif not bodiless:
            if request is not None and request.version == "1.1":
                self.chunked = True
                parts.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self._keep_alive = False
        if not self._keep_alive:
            parts.append(b"Connection: close\r\n")
        elif request is not None and request.version == "1.0":
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        if body and not bodiless:
            parts.append(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)
        transport.write(b"".join(parts))

    async def write(self, chunk: bytes) -> None:
        """Write a part of the body, and wait until the client can take more.

        Raises:
            CancelledError: the client is gone.
        """
        transport = self._transport
        if transport is None:
            raise asyncio.CancelledError
        if self.chunked:
            transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
        else:
            transport.write(chunk)
        if self._write_paused:
            self._drained = Waiter()
            await self._drained

    def end(self) -> None:
        """Write the end of the body."""
        if self._transport is not None and self.chunked:
            self._transport.write(b"0\r\n\r\n")

    def close_after_answer(self) -> None:
        """Let the answer be the last one of this connection."""
        self._keep_alive = False

    def abort(self) -> None:
        """Break the connection: the only way to say that a body is not whole."""
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()
