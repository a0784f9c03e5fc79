"""A request on its way to a backend: what is asked, and who carries it."""

from typing import TYPE_CHECKING

from proxy.core.backends import Timeouts
from proxy.core.message import Body, Response
from proxy.edge.waiter import Waiter

if TYPE_CHECKING:
    from proxy.edge.upstream import UpstreamConnection


class Call(Waiter[Response]):
    """One request on its way to a backend; awaited for the head of the answer.

    Args:
        method: upper case.
        head: the request line and every field line, framing and the empty line
            included.
        body: all of it, the stream, or what is offered instead of one.
        timeouts: of this exchange.
        chunked: whether a stream is sent in chunks, because its head says so.

    Attributes:
        connection: the one that carries it; None while it waits for one.
        fresh: whether it was sent before; it goes on a new connection then, and is
            not sent a third time.
        moves: how many servers did not take a connection for it.
        waits_until: loop time until which it waits for a connection.
    """

    __slots__ = (
        "body",
        "chunked",
        "connection",
        "fresh",
        "head",
        "method",
        "moves",
        "timeouts",
        "waits_until",
    )

    def __init__(
        self,
        method: str,
        head: bytes,
        body: bytes | Body,
        timeouts: Timeouts,
        *,
        chunked: bool,
    ) -> None:
        super().__init__()
        self.method = method
        self.head = head
        self.body = body
        self.timeouts = timeouts
        self.chunked = chunked
        self.connection: UpstreamConnection | None = None
        self.fresh = False
        self.moves = 0
        self.waits_until = 0.0

    def given_up(self) -> None:
        """Break the exchange off: nobody waits for the answer any more."""
        self.done = True
        if self.connection is not None:
            self.connection.close()
