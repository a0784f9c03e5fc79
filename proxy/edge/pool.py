"""The connections to every server of every backend, and who gets which.

A request is sent a second time in one case only: the connection was a kept-alive one
that closed before a byte of the answer came, and the method is idempotent and the body
is at hand (RFC 9110 section 9.2.2). ``may_retry`` decides that, purely.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, cast

from proxy.core.backends import Backend, Server, Timeouts
from proxy.core.errors import Refused
from proxy.core.message import Body, Response
from proxy.core.reasons import Reason
from proxy.core.upgrade import Offer
from proxy.edge.call import Call
from proxy.edge.owners import UpstreamOwner
from proxy.edge.upstream import UpstreamConnection

IDEMPOTENT: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"))


def may_retry(method: str, *, reused: bool, answered: bool, replayable: bool) -> bool:
    """Say whether a request that got no answer may be sent again."""
    return reused and not answered and replayable and method in IDEMPOTENT


class Pool(UpstreamOwner):
    """The connections to one server.

    Attributes:
        idle: connections that wait for a request; the last used is used first.
        busy: how many are in an exchange.
        connecting: how many are being made.
    """

    def __init__(
        self,
        server: Server,
        timeouts: Timeouts,
        *,
        max_connections: int = 1024,
        max_waiting: int = 1024,
    ) -> None:
        self.server = server
        self.timeouts = timeouts
        self.idle: list[UpstreamConnection] = []
        self.all: set[UpstreamConnection] = set()
        self.connecting = 0
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._waiting: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        """How many connections are in an exchange."""
        return len(self.all) - len(self.idle)

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
        self._begin(call)
        return call

    def _begin(self, call: Call) -> None:
        if self.idle and not call.fresh:
            connection = self.idle.pop()
            connection.reused = True
            connection.start(call)
            return
        if len(self.all) + self.connecting < self._max_connections:
            self._connect()
        elif self._is_full():
            call.fail(Refused(Reason.UPSTREAM_BUSY, headers=(("Retry-After", "1"),)))
            return
        self._waiting.append(call)

    def _is_full(self) -> bool:
        if len(self._waiting) - self.connecting < self._max_waiting:
            return False
        # Those whose clients left do not count.
        self._waiting = deque(call for call in self._waiting if not call.done)
        return len(self._waiting) - self.connecting >= self._max_waiting

    def broken(self, call: Call, *, reused: bool, answered: bool) -> None:
        """Send a call again on a new connection if that is safe, or refuse it."""
        if may_retry(
            call.method,
            reused=reused,
            answered=answered,
            replayable=isinstance(call.body, bytes | Offer),
        ):
            call.fresh = True
            call.connection = None
            self._begin(call)
        else:
            call.fail(Refused(Reason.UPSTREAM_RESET))

    def _connect(self) -> None:
        self.connecting += 1
        task = self._loop.create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        connection = UpstreamConnection(self)
        protocol = cast("asyncio.Protocol", connection)
        try:
            async with asyncio.timeout(self.timeouts.connect):
                await self._loop.create_connection(
                    lambda: protocol, self.server.host, self.server.port
                )
        except TimeoutError:
            self.connecting -= 1
            self._not_connected(
                Refused(Reason.UPSTREAM_TIMEOUT, "It did not take the connection.")
            )
        except (OSError, ValueError):  # ValueError: a name that is none
            self.connecting -= 1
            self._not_connected(Refused(Reason.UPSTREAM_REFUSED))
        else:
            self.connecting -= 1
            self._hand_over(connection)

    def _not_connected(self, refused: Refused) -> None:
        call = self._next()
        if call is not None:
            call.fail(refused)

    def _hand_over(self, connection: UpstreamConnection) -> None:
        call = self._next()
        if call is not None:
            connection.start(call)
        else:
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
        connection.deadline = self.now() + self.timeouts.idle
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

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self.all):
            connection.close()
        await asyncio.sleep(0)


class Upstreams:
    """Every server of every backend; picks one with the least outstanding requests.

    Args:
        is_up: what the active health checks say; a server nobody checked is up.
    """

    def __init__(self, is_up: Callable[[str, Server], bool]) -> None:
        self._is_up = is_up
        self._pools: dict[str, dict[Server, Pool]] = {}
        self._single: dict[str, Pool] = {}  # of backends with one server
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch deadlines."""
        now = self._loop.time()
        interval = 1.0
        for pools in self._pools.values():
            for pool in pools.values():
                pool.sweep(now)
                interval = min(interval, pool.timeouts.first_byte / 8)
        self._sweeper = self._loop.call_later(max(0.02, interval), self.start)

    def configure(self, backends: Iterable[Backend]) -> None:
        """Have a pool for every server of ``backends``; known ones are kept."""
        for backend in backends:
            known = self._pools.setdefault(backend.id, {})
            for server in backend.servers:
                pool = known.get(server)
                if pool is None:
                    known[server] = Pool(server, backend.timeouts)
                else:
                    pool.timeouts = backend.timeouts
            if len(backend.servers) == 1:
                self._single[backend.id] = known[backend.servers[0]]
            else:
                self._single.pop(backend.id, None)

    def exchange(
        self,
        backend: Backend,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Awaitable[Response]:
        """Exchange with the least busy healthy server; see ``Pool.exchange``.

        Args:
            backend: one of those configured.
            method: upper case.
            head: the request line and every field line, framing and the empty line
                included.
            body: all of it, or the stream.
            chunked: whether a stream is sent in chunks, because its head says so.
        """
        pool = self._single.get(backend.id) or self._least_busy(backend)
        return pool.exchange(method, head, body, backend.timeouts, chunked=chunked)

    def _least_busy(self, backend: Backend) -> Pool:
        pools = self._pools[backend.id]
        up = [one for one in backend.servers if self._is_up(backend.id, one)]
        return min(
            (pools[server] for server in up or backend.servers),
            key=lambda one: one.busy + one.connecting,
        )

    def snapshot(self) -> list[tuple[str, str, int]]:
        """Return (backend, state, connections) for every backend and state."""
        rows = []
        for backend, pools in self._pools.items():
            rows.append((backend, "idle", sum(len(one.idle) for one in pools.values())))
            rows.append((backend, "active", sum(one.busy for one in pools.values())))
            rows.append(
                (backend, "connecting", sum(one.connecting for one in pools.values()))
            )
        return rows

    async def close(self) -> None:
        """Close every connection of every pool."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pools in self._pools.values():
            for pool in pools.values():
                await pool.close()
