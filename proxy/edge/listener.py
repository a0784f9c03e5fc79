"""The port that clients connect to: accepts, watches deadlines, drains."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from proxy.edge.downstream import DownstreamConnection
from proxy.edge.limits import WireLimits
from proxy.edge.owners import DownstreamOwner
from proxy.edge.tunnels import Tunnels
from proxy.edge.waiter import Waiter
from proxy.ports import Handler


class Listener(DownstreamOwner):
    """Accepts connections, and watches their deadlines.

    Args:
        handler: answers the requests.
        limits: what one connection may cost.
        tunnels: where connections go that are not HTTP any more.
        trusts: whether the peer at an address may say who the client is.
        on_failure: called with what escapes a handler; a bug, to be logged.

    Attributes:
        draining: whether answers announce that the connection will be closed.
        leaving: whether connections are closed after their answer; see ``drain``.
        now: the loop's time, in seconds.
    """

    def __init__(
        self,
        handler: Handler,
        limits: WireLimits,
        *,
        tunnels: Tunnels,
        trusts: Callable[[str], bool],
        on_failure: Callable[[BaseException], object],
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.tunnels = tunnels
        self._on_failure = on_failure
        self.draining = False
        self.leaving = False
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self._trusts = trusts
        self._connections: set[DownstreamConnection] = set()
        # Not asyncio.Server: uvloop's own class is no subclass of it.
        self._server: Any = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._interval = max(
            0.05, min(1.0, min(limits.head_seconds, limits.linger_seconds) / 4)
        )
        self._empty: Waiter[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before ``start``."""
        if self._server is None or not self._server.sockets:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    def failed(self, error: BaseException) -> None:
        """Note what escaped a handler: a bug."""
        self._on_failure(error)

    async def start(self, host: str, port: int) -> None:
        """Listen on ``host`` and ``port``; 0 is any free one.

        Raises:
            OSError: the address is not to be had.
        """
        self._server = await self.loop.create_server(
            lambda: cast("asyncio.Protocol", DownstreamConnection(self)),
            host,
            port,
            backlog=4096,
        )
        self._sweep()

    def opened(
        self, connection: DownstreamConnection, transport: asyncio.Transport
    ) -> tuple[str, bool]:
        """Note a connection; return its peer's address and whether it is trusted."""
        self._connections.add(connection)
        name = transport.get_extra_info("peername")
        address = str(name[0]) if isinstance(name, tuple) else ""
        return address, self._trusts(address)

    def closed(self, connection: DownstreamConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None:
            self._empty.set(None)

    def _sweep(self) -> None:
        now = self.now()
        late = [one for one in self._connections if one.deadline < now]
        for connection in late:
            connection.expire()
        self._sweeper = self.loop.call_later(self._interval, self._sweep)

    def stop_accepting(self) -> None:
        """Close the listening socket."""
        if self._server is not None:
            self._server.close()

    async def drain(self, seconds: float) -> None:
        """Close idle connections, let busy ones finish, for at most ``seconds``."""
        self.draining = self.leaving = True
        self.stop_accepting()
        for connection in list(self._connections):
            connection.close_if_idle()
        if self._connections:
            self._empty = Waiter()
            give_up = self.loop.call_later(seconds, self._empty.set, None)
            await self._empty
            give_up.cancel()

    async def stop(self) -> None:
        """Close everything now."""
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
