"""Every tunnel of this process: watched, counted, and ended when it has to be.

Once a second each is looked at: whether its token has expired, whether anything was
said for too long, whether a side that was told to leave has left.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from proxy.core.authn import Principal
from proxy.core.websocket import GOING_AWAY, POLICY_VIOLATION
from proxy.edge.tunnel import CLOSE_SECONDS, Switched, Tunnel

EXPIRED: Final = "expired"
REVOKED: Final = "revoked"
IDLE: Final = "idle"
DRAIN: Final = "drain"
"""What ends a tunnel beside its two sides, as metrics call it."""

Counted = list[tuple[tuple[str, ...], float]]
"""Values of labels, and a number."""


class Tunnels:
    """The tunnels there are.

    Args:
        wall: epoch seconds, for the time claims of tokens.
        interval: seconds between two looks at each of them.
        close_seconds: what both sides of one get to leave, once they were told to.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        *,
        interval: float = 1.0,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._wall = wall
        self._close_seconds = close_seconds
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._tunnels: set[Tunnel] = set()
        self._closed: dict[tuple[str, ...], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._leaving = False

    def join(
        self,
        client: asyncio.Transport,
        client_over: Callable[[], object],
        backend: Switched,
        *,
        held: bytes,
        paused: bool,
    ) -> None:
        """Make a tunnel of two connections.

        Args:
            client: the transport of the client, to which the 101 was written.
            client_over: called once when that connection has ended.
            backend: what the connection to the backend became.
            held: what the client sent before it was answered.
            paused: whether the client has not taken yet what was written to it.
        """
        tunnel = Tunnel(
            client,
            client_over,
            backend,
            now=self._loop.time,
            over=self._over,
            close_seconds=self._close_seconds,
        )
        self._tunnels.add(tunnel)
        tunnel.begin(held, backend.early, paused=paused)
        if self._leaving:
            tunnel.close(DRAIN, GOING_AWAY)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)

    def close_where(
        self, matches: Callable[[Principal], bool], reason: str = REVOKED
    ) -> int:
        """End the tunnels of whoever may not have one any more; return how many.

        Args:
            matches: says of the principal that opened a tunnel whether it is to end.
                Tunnels that were opened without a token are not asked about.
            reason: what metrics call it.
        """
        found = [
            tunnel
            for tunnel in self._tunnels
            if not tunnel.closing
            and tunnel.offer.principal is not None
            and matches(tunnel.offer.principal)
        ]
        for tunnel in found:
            tunnel.close(reason, POLICY_VIOLATION)
        return len(found)

    def drain(self) -> None:
        """Tell every WebSocket, and those that come, that this process goes away.

        What cannot be told goes on until it ends, or the process does.
        """
        self._leaving = True
        for tunnel in list(self._tunnels):
            if tunnel.websocket:
                tunnel.close(DRAIN, GOING_AWAY)

    def open_by_rule(self) -> Counted:
        """Return how many are open, for each rule that has had one."""
        rules = dict.fromkeys((labels[0] for labels in self._closed), 0.0)
        for tunnel in self._tunnels:
            rules[tunnel.offer.rule] = rules.get(tunnel.offer.rule, 0.0) + 1
        return [((rule,), count) for rule, count in rules.items()]

    def closed_by_rule(self) -> Counted:
        """Return how many have ended, for each rule and reason."""
        return list(self._closed.items())

    def _over(self, tunnel: Tunnel) -> None:
        self._tunnels.discard(tunnel)
        labels = (tunnel.offer.rule, tunnel.reason)
        self._closed[labels] = self._closed.get(labels, 0.0) + 1

    def _look(self) -> None:
        self._timer = None
        now, wall = self._loop.time(), self._wall()
        for tunnel in list(self._tunnels):
            if tunnel.deadline < now:
                tunnel.abort()
            elif tunnel.offer.expires_at <= wall:
                tunnel.close(EXPIRED, POLICY_VIOLATION)
            elif tunnel.seen + tunnel.offer.terms.idle < now:
                tunnel.close(IDLE, GOING_AWAY)
        if self._tunnels:
            self._timer = self._loop.call_later(self._interval, self._look)
