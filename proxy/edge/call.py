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
        fresh: whether it may go on a connection that was used before no more.
    """

    __slots__ = ("body", "chunked", "connection", "fresh", "head", "method", "timeouts")

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

    def given_up(self) -> None:
        """Break the exchange off: nobody waits for the answer any more."""
        self.done = True
        if self.connection is not None:
            self.connection.close()
