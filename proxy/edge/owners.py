"""What a connection asks of whoever owns it: the listener, or the pool of a backend.

Base classes and not protocols: an attribute of a class is found without looking for it
once the data path is compiled.
"""

import abc
import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.core.backends import Timeouts
from proxy.edge.limits import WireLimits
from proxy.ports import Handler

if TYPE_CHECKING:
    from proxy.edge.call import Call
    from proxy.edge.downstream import DownstreamConnection
    from proxy.edge.pool import Pool
    from proxy.edge.tunnels import Tunnels
    from proxy.edge.upstream import UpstreamConnection


class DownstreamOwner(abc.ABC):
    """The listener that a connection belongs to.

    Attributes:
        handler: answers the requests.
        limits: what one connection may cost.
        tunnels: where connections go that are not HTTP any more.
        draining: whether answers announce that the connection will be closed.
        leaving: whether it is closed after its answer, announced or not.
        secure: whether its connections speak TLS.
        loop: the event loop.
        now: its time, in seconds.
    """

    handler: Handler
    limits: WireLimits
    tunnels: "Tunnels"
    draining: bool
    leaving: bool
    secure: bool
    loop: asyncio.AbstractEventLoop
    now: Callable[[], float]

    @abc.abstractmethod
    def failed(self, error: BaseException) -> None:
        """Note what escaped a handler: a bug."""

    @abc.abstractmethod
    def opened(
        self, connection: "DownstreamConnection", transport: asyncio.Transport
    ) -> tuple[str, bool]:
        """Note a connection; return its client's address and whether it is trusted."""

    @abc.abstractmethod
    def closed(self, connection: "DownstreamConnection") -> None:
        """Forget a connection."""


class UpstreamOwner(abc.ABC):
    """The pool that a connection belongs to.

    Attributes:
        timeouts: of exchanges that say nothing else, and of idle connections.
        now: the loop's time, in seconds.
        failures: how often its server failed since it last answered.
    """

    timeouts: Timeouts
    now: Callable[[], float]
    failures: int

    @abc.abstractmethod
    def opened(self, connection: "UpstreamConnection") -> None:
        """Note a connection that stands."""

    @abc.abstractmethod
    def release(self, connection: "UpstreamConnection") -> None:
        """Take a connection back after an exchange."""

    @abc.abstractmethod
    def lost(self, connection: "UpstreamConnection") -> None:
        """Forget a connection."""

    @abc.abstractmethod
    def broken(self, call: "Call", *, reused: bool, answered: bool) -> None:
        """Decide about a call whose connection ended before its answer's head.

        Args:
            call: the call.
            reused: whether the connection had carried another one before.
            answered: whether a byte of the answer had come.
        """

    @abc.abstractmethod
    def failed(self) -> None:
        """Note that the server failed an exchange."""


class PoolOwner(abc.ABC):
    """The servers of a backend that a pool belongs to.

    Attributes:
        retry: whether a request may be sent a second time.
    """

    retry: bool

    @abc.abstractmethod
    def other(self, pool: "Pool") -> "Pool | None":
        """Return the pool of another server that may be asked; None for none."""

    @abc.abstractmethod
    def failed(self, pool: "Pool") -> None:
        """Note that a server failed an exchange, or took no connection."""

    @abc.abstractmethod
    def retried(self) -> None:
        """Note that a request is sent, or another server is asked, again."""
