"""The port that clients connect to: accepts, watches deadlines, drains."""

import asyncio
import heapq
import socket
from collections.abc import Callable, Sequence
from typing import Final, cast

from proxy.edge.acceptor import Acceptor
from proxy.edge.arrival import address_of, read_source
from proxy.edge.downstream import DownstreamConnection
from proxy.edge.limits import WireLimits
from proxy.edge.owners import DownstreamOwner
from proxy.edge.room import Room
from proxy.edge.sockets import port_of
from proxy.edge.tls import Tls
from proxy.edge.tunnels import Tunnels
from proxy.edge.waiter import Waiter
from proxy.ports import Handler

_ROOM: Final = 20_000
"""Connections at a time where nobody says how many."""
_MADE_ROOM: Final = 100
"""Of this many connections one that is idle goes when there is no room for others."""


class Listener(DownstreamOwner):
    """Accepts connections, and watches their deadlines.

    Args:
        handler: answers the requests.
        limits: what one connection may cost.
        tunnels: where connections go that are not HTTP any more.
        trusts: whether the peer at an address ("" for a unix socket) may say who the
            client is.
        on_failure: called with what escapes a handler; a bug, to be logged.
        room: what it shares with other listeners; None for room of its own.

    Attributes:
        refused: connections that ended before they could carry a request: their TLS
            handshake or PROXY header was none.
        secure: whether its connections speak TLS.
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
        room: Room | None = None,
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
        self.refused = 0
        self.secure = False
        self._tls: Tls | None = None
        self._proxy_protocol = False
        self._room = room or Room(_ROOM)
        self._most = self._room.most
        self._room.join(lambda: self.connections, self._resume)
        self._connections: set[DownstreamConnection] = set()
        # Accepted, and not a connection yet.
        self._pending = 0
        self._arriving: set[asyncio.Task[None]] = set()
        # Told to go, to make room, and not gone yet.
        self._going: set[DownstreamConnection] = set()
        self._acceptor = Acceptor((), self._take, self._has_room)
        self._sweeper: asyncio.TimerHandle | None = None
        self._interval = max(
            0.05, min(1.0, min(limits.head_seconds, limits.linger_seconds) / 4)
        )
        self._empty: Waiter[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections) + self._pending

    @property
    def listening(self) -> bool:
        """Whether it has a socket to accept at."""
        return bool(self._acceptor.sockets)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while none is."""
        return port_of(self._acceptor.sockets)

    def failed(self, error: BaseException) -> None:
        """Note what escaped a handler: a bug."""
        self._on_failure(error)

    def configure(
        self, tls: Tls | None, most: int | None, *, proxy_protocol: bool
    ) -> None:
        """Take connections in another way from now on.

        Args:
            tls: None for plain connections.
            most: connections at a time; None for as many as there is room.
            proxy_protocol: whether trusted peers begin with a PROXY header.
        """
        self._tls = tls
        self.secure = tls is not None
        self._most = self._room.most if most is None else most
        self._proxy_protocol = proxy_protocol
        self._resume()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections at sockets that listen; they are the listener's now."""
        self._acceptor = Acceptor(sockets, self._take, self._has_room)
        self._acceptor.resume()
        self._sweep()

    # -- connections come and go

    def _has_room(self, *, waits: bool) -> bool:
        """Say whether one more may come; if not, make some where nobody is hurt."""
        if self.connections < self._most and self._room.is_left:
            return True
        if waits and not self._going:
            idle = [one for one in self._connections if one.is_idle]
            many = max(1, self._most // _MADE_ROOM)
            self._going.update(
                heapq.nsmallest(many, idle, key=lambda one: one.deadline)
            )
            for one in self._going:
                one.close_if_idle()
        return False

    def _take(self, accepted: socket.socket) -> None:
        self._pending += 1
        task = self.loop.create_task(self._arrive(accepted))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    async def _arrive(self, accepted: socket.socket) -> None:
        """Make a connection of what was accepted, if it is one in time."""
        tls, connection = self._tls, None
        try:
            async with asyncio.timeout(self.limits.head_seconds):
                source = None
                if self._proxy_protocol and self._trusts(address_of(accepted)):
                    source = await read_source(accepted)
                connection = DownstreamConnection(self, source)
                await self.loop.connect_accepted_socket(
                    lambda: cast("asyncio.Protocol", connection),
                    accepted,
                    ssl=None if tls is None else tls.context,
                    ssl_handshake_timeout=(
                        None if tls is None else self.limits.head_seconds
                    ),
                )
        except (OSError, ValueError):  # of TLS, of time, or what is no PROXY header
            self.refused += 1
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            if connection is None or not connection.was_opened:
                self._pending -= 1

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)
        self._left()

    def _resume(self) -> None:
        if self._acceptor.paused:
            self._acceptor.resume()

    def _left(self) -> None:
        """Use the room that there is now."""
        self._room.left()
        if self._empty is not None and not self.connections:
            self._empty.set(None)

    def opened(
        self, connection: DownstreamConnection, transport: asyncio.Transport
    ) -> tuple[str, bool]:
        """Note a connection; return its client's address and whether it is trusted."""
        self._connections.add(connection)
        self._pending -= 1
        address = connection.source
        if address is None:
            name = transport.get_extra_info("peername")
            address = str(name[0]) if isinstance(name, tuple) else ""
        return address, self._trusts(address)

    def closed(self, connection: DownstreamConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._going.discard(connection)
        self._left()

    def _sweep(self) -> None:
        now = self.now()
        late = [one for one in self._connections if one.deadline < now]
        for connection in late:
            connection.expire()
        # Who was busy when somebody found no room may have become idle.
        self._resume()
        self._sweeper = self.loop.call_later(self._interval, self._sweep)

    def stop_accepting(self) -> None:
        """Close the listening sockets; who waits there is reset."""
        self._acceptor.close()

    async def drain(self, seconds: float) -> None:
        """Take who has connected; close idle connections, let busy ones finish.

        Args:
            seconds: after which it is over whether or not they have.
        """
        self.draining = True
        await self._acceptor.finish()
        self.leaving = True
        for connection in list(self._connections):
            connection.close_if_idle()
        if self.connections:
            self._empty = Waiter()
            give_up = self.loop.call_later(seconds, self._empty.set, None)
            await self._empty
            give_up.cancel()

    async def stop(self) -> None:
        """Close everything now."""
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._arriving:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
