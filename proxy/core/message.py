"""The two values that cross every boundary: a request as it arrived, an answer's head.

They hold what a parser read, not what anybody may believe: ``headers`` decides what
is forwarded, ``routing`` what the path means. Bodies are streams of the edges;
here they only have a shape.

Plain classes, for one of each is made for every request, and a compiled class makes it
several times faster than what dataclasses generates.
"""

from typing import Final, Protocol

RawHeaders = list[tuple[bytes, bytes, bytes]]
"""(lower-case name, name as sent, value) of every field line, in order."""


class Body(Protocol):
    """A body that arrives in pieces.

    Attributes:
        complete: whether every byte has arrived (they may not have been read yet).
        limit: bytes in all that are taken before BODY_TOO_LARGE; None for no limit.
    """

    complete: bool
    limit: int | None

    @property
    def received(self) -> int:
        """Bytes that have arrived so far."""
        ...

    def abandon(self) -> None:
        """Say that nobody will read the rest."""
        ...

    def whole(self) -> bytes:
        """Return all that was not read yet; to be asked only of a complete body."""
        ...

    async def read(self) -> bytes:
        """Return the bytes that have arrived, waiting for some; b"" at the end.

        Raises:
            Refused: the sender was too slow, left, or broke the framing.
        """
        ...


class Whole:
    """A body that is all there."""

    __slots__ = ("_data", "complete", "limit", "received")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.received = len(data)
        self.complete = True
        self.limit: int | None = None

    def abandon(self) -> None:
        """Drop the bytes."""
        self._data = b""

    def whole(self) -> bytes:
        """Return all of it, then b""."""
        data, self._data = self._data, b""
        return data

    async def read(self) -> bytes:
        """Return all of it, then b""."""
        return self.whole()


NO_BODY: Final[Body] = Whole(b"")
"""The body of every message that has none."""


class Request:
    """A request whose head is complete.

    Attributes:
        method: upper case, one of the methods llhttp knows.
        target: the request target as sent, ASCII.
        version: "1.1" or "1.0"; others were refused.
        headers: every field line.
        body: the stream; complete at once when there is none.
        peer: the address at the other end of the connection; "" for a unix socket.
        peer_trusted: whether what that peer says about the client is believed.
        secure: whether it came over TLS.
        keep_alive: whether the client wants to send more on its connection.
        upgradable: whether the client offers another protocol, and nothing that it
            sent behind this request has been read as HTTP.
    """

    __slots__ = (
        "body",
        "headers",
        "keep_alive",
        "method",
        "peer",
        "peer_trusted",
        "secure",
        "target",
        "upgradable",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: str,
        version: str,
        headers: RawHeaders,
        *,
        peer: str,
        peer_trusted: bool,
        secure: bool = False,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.body: Body = NO_BODY
        self.peer = peer
        self.peer_trusted = peer_trusted
        self.secure = secure
        self.keep_alive = keep_alive
        self.upgradable = False


class Response:
    """An answer of the backend whose head is complete.

    Attributes:
        status: 200 to 599, or 101 where that was asked for.
        phrase: the reason phrase as sent; may be empty.
        headers: every field line.
        body: the stream; complete at once when there is none.
        length: the number of bytes the body has; None when only its end will tell.
        bodiless: whether this answer has no body whatever its headers say
            (HEAD, 204, 304: RFC 9112 section 6.3).
        switched: the connection that is not HTTP any more, which only edges look into;
            None but for a 101.
    """

    __slots__ = (
        "bodiless",
        "body",
        "headers",
        "length",
        "phrase",
        "status",
        "switched",
    )

    def __init__(
        self,
        status: int,
        phrase: bytes,
        headers: RawHeaders,
        *,
        length: int | None,
        bodiless: bool,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body: Body = NO_BODY
        self.length = length
        self.bodiless = bodiless
        self.switched: object | None = None
