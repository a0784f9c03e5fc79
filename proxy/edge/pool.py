"""The connections to one server, and which request gets which.

A request is sent a second time in two cases only, and once at the most (RFC 9110
section 9.2.2): nothing of it was sent, for the server did not take a connection; or no
byte of an answer came, the method is idempotent and the body is at hand. In the second
case the connection was a kept-alive one, or there is another server to ask.
``may_retry`` decides that, purely.
"""

import asyncio
import logging
import ssl
from collections import deque
from typing import Final, cast

from proxy.core.backends import Breaker, Server, Timeouts
from proxy.core.errors import Refused
from proxy.core.message import Body
from proxy.core.reasons import Reason
from proxy.core.upgrade import Offer
from proxy.edge.call import Call
from proxy.edge.owners import PoolOwner, UpstreamOwner
from proxy.edge.tls import Tls
from proxy.edge.upstream import UpstreamConnection

log = logging.getLogger("lumina.upstream")

IDEMPOTENT: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"))
MOVES: Final = 2
"""How many further servers are asked to take a connection for one request."""
RESTED: Final = 1.0
"""Seconds of rest after which a connection is looked at before what cannot be sent
again is sent on it: backends close theirs after a few seconds, and the news of it may
be on its way."""
RETRY_AFTER: Final = (("Retry-After", "1"),)


def may_retry(
    method: str,
    *,
    reused: bool,
    answered: bool,
    replayable: bool,
    elsewhere: bool = False,
) -> bool:
    """Say whether a request that got no answer may be sent again.

    Args:
        method: upper case.
        reused: whether its connection had carried another one before.
        answered: whether a byte of an answer had come.
        replayable: whether its body is at hand.
        elsewhere: whether there is another server.
    """
    return (
        (reused or elsewhere) and not answered and replayable and method in IDEMPOTENT
    )


def busy() -> Refused:
    """Return what a request is told that the breaker does not let through."""
    return Refused(Reason.UPSTREAM_BUSY, headers=RETRY_AFTER)


class Pool(UpstreamOwner):
    """The connections to one server.

    Args:
        server: where to connect to.
        timeouts: how long that may take, and how long a connection may rest.
        breaker: how many connections and waiting requests there may be.
        owner: the servers that it is one of; None when it stands alone.
        tls: for a server that speaks it.
        server_name: what the server's certificate is for; "" checks no name.

    Attributes:
        idle: connections that wait for a request; the last used is used first.
        all: every connection that stands.
        connecting: how many are being made.
        up: whether the active health checks reach the server, as far as is known.
        ejected_until: loop time until which it gets no requests, if others are up.
        ejections: how often it was ejected lately.
        retired: whether connections are closed after their exchange.
        rested: seconds of rest after which a connection is looked at; see RESTED.
    """

    def __init__(
        self,
        server: Server,
        timeouts: Timeouts,
        breaker: Breaker,
        owner: PoolOwner | None = None,
        *,
        tls: Tls | None = None,
        server_name: str = "",
    ) -> None:
        self.server = server
        self.timeouts = timeouts
        self.breaker = breaker
        self.owner = owner
        self.tls = tls
        self.server_name = server_name
        self.idle: list[UpstreamConnection] = []
        self.all: set[UpstreamConnection] = set()
        self.connecting = 0
        self.failures = 0
        self.up = True
        self.ejected_until = 0.0
        self.ejections = 0
        self.retired = False
        self.rested = RESTED
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        """How many connections are in an exchange."""
        return len(self.all) - len(self.idle)

    @property
    def pending(self) -> int:
        """How many requests wait for a connection, those that left included."""
        return len(self._waiting)

    @property
    def outstanding(self) -> int:
        """How many requests are under way or wait."""
        return len(self.all) - len(self.idle) + len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more request would be taken."""
        return (
            bool(self.idle)
            or len(self.all) + self.connecting < self.breaker.connections
            or not self._is_full()
        )

    def exchange(
        self,
        method: str,
        head: bytes,
        body: bytes | Body,
        timeouts: Timeouts,
        *,
        chunked: bool = False,
    ) -> Call:
        """Send a request on a connection of this pool; await it for the answer.

        Awaiting raises Refused with an UPSTREAM_* reason, or whatever reading
        ``body`` raised.
        """
        call = Call(method, head, body, timeouts, chunked=chunked)
        self.begin(call)
        return call

    def begin(self, call: Call) -> None:
        """Give a call a connection, or let it wait for one."""
        while self.idle and not call.fresh:
            connection = self.idle.pop()
            if connection.ended or (
                (call.method not in IDEMPOTENT or not isinstance(call.body, bytes))
                and self._rested(connection)
                and connection.is_stale()
            ):
                connection.close()
                continue
            connection.reused = True
            connection.start(call)
            return
        if len(self.all) + self.connecting < self.breaker.connections:
            self._connect()
        elif self._is_full():
            call.fail(busy())
            return
        call.waits_until = self.now() + self.timeouts.connect
        self._waiting.append(call)

    def _rested(self, connection: UpstreamConnection) -> bool:
        return connection.deadline - self.now() < self.timeouts.idle - self.rested

    def _is_full(self) -> bool:
        most = self.breaker.pending
        if len(self._waiting) - self.connecting < most:
            return False
        # Those whose clients left do not count.
        self._waiting = deque(call for call in self._waiting if not call.done)
        return len(self._waiting) - self.connecting >= most

    def broken(self, call: Call, *, reused: bool, answered: bool) -> None:
        """Send a call again on a new connection if that is safe, or refuse it."""
        owner = self.owner
        other = None if owner is None or reused else owner.other(self)
        if (
            not call.fresh
            and (owner is None or owner.retry)
            and may_retry(
                call.method,
                reused=reused,
                answered=answered,
                replayable=isinstance(call.body, bytes | Offer),
                elsewhere=other is not None,
            )
        ):
            call.fresh = True
            call.connection = None
            if owner is not None:
                owner.retried()
            if other is None:
                self.begin(call)
                return
            self.failed()
            other.begin(call)
        else:
            self.failed()
            call.fail(Refused(Reason.UPSTREAM_RESET))

    def failed(self) -> None:
        """Note that the server failed an exchange, or took no connection."""
        self.failures += 1
        if self.owner is not None:
            self.owner.failed(self)

    def _connect(self) -> None:
        self.connecting += 1
        task = self._loop.create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self.timeouts.connect):
                await self._opened(cast("asyncio.Protocol", connection))
        except TimeoutError:
            self._not_connected(
                Refused(Reason.UPSTREAM_TIMEOUT, "It did not take the connection.")
            )
        except ssl.SSLError as error:
            if not self.failures:  # the first since it last answered, not every one
                log.warning("TLS to %s: %s", self.server.address, error)
            self._not_connected(Refused(Reason.UPSTREAM_UNTRUSTED))
        except (OSError, ValueError):  # ValueError: a name that is none
            self._not_connected(Refused(Reason.UPSTREAM_REFUSED))
        else:
            self.connecting -= 1
            self._hand_over(connection)

    async def _opened(self, protocol: asyncio.Protocol) -> None:
        server = self.server
        if server.path:
            await self._loop.create_unix_connection(lambda: protocol, server.path)
        elif self.tls is None:
            await self._loop.create_connection(
                lambda: protocol, server.host, server.port
            )
        else:
            await self._loop.create_connection(
                lambda: protocol,
                server.host,
                server.port,
                ssl=self.tls.context,
                server_hostname=self.server_name,
            )

    def _not_connected(self, refused: Refused) -> None:
        self.connecting -= 1
        self.failed()
        call = self._next()
        if call is None:
            return
        other = None if self.owner is None else self.owner.other(self)
        if self.owner is None or other is None or call.moves == MOVES:
            call.fail(refused)
            return
        call.moves += 1  # nothing was sent, so this is safe for every method
        self.owner.retried()
        other.begin(call)

    def _hand_over(self, connection: UpstreamConnection) -> None:
        call = self._next()
        if call is not None:
            connection.start(call)
        elif self.retired:
            connection.close()
        else:
            connection.deadline = self.now() + self.timeouts.idle
            self.idle.append(connection)

    def _next(self) -> Call | None:
        """Return the call that has waited longest and was not given up."""
        while self._waiting:
            call = self._waiting.popleft()
            if not call.done:
                return call
        return None

    def opened(self, connection: UpstreamConnection) -> None:
        """Note a connection that stands."""
        self.all.add(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back after an exchange."""
        connection.reused = True
        self._hand_over(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection; make another one if somebody waits."""
        self.all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if len(self._waiting) > self.connecting:
            self._connect()

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        for connection in [one for one in self.all if one.deadline < now]:
            connection.expire()
        # Connections that are being made have a time of their own, and serve the
        # oldest first; whoever waits beyond them waits for others to finish.
        while len(self._waiting) > self.connecting:
            if self._waiting[0].waits_until > now:
                break
            self._waiting.popleft().fail(busy())

    def retire(self) -> None:
        """Close what is idle now, and everything else after its exchange."""
        self.retired = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a connection nor a request left."""
        return not (self.all or self.connecting or self._waiting)

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self.all):
            connection.close()
        await asyncio.sleep(0)
