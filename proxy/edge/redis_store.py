"""Buckets that all processes share, in Redis.

Rules of this file:

1. ``take`` never raises and never waits longer than ``timeout``. What Redis does not
   answer in time, the ``StandIn`` answers.
2. While Redis is lost nobody waits for it. When it is back it is told what was taken
   meanwhile, a little at a time, so that takes do not wait behind that.

How takes travel is in ``redis_link``; ``ClusterStore`` has several links.
"""

import abc
import asyncio
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxy.core.bucket import Grant
from proxy.core.limits import Take, asks
from proxy.edge.heartbeat import Heartbeat
from proxy.edge.redis_address import RedisAddress, close_pool
from proxy.edge.redis_batch import TOLD, Batch, Loan, RedisTimes, Told
from proxy.edge.redis_link import SCRIPT, LinkOwner, RedisLink
from proxy.edge.redis_wire import open_wire
from proxy.edge.stand_in import StandIn, served
from proxy.edge.tasks import end
from proxy.edge.waiter import Waiter

_TOLD_AT_ONCE: Final = 50
"""Buckets that Redis is told of in one turn, when it is back."""
_TOLD_EVERY: Final = 0.005
"""Seconds between such turns."""


class SharedStore(LinkOwner):
    """What a store in one Redis and one in a Cluster have in common.

    Args:
        now_us: this process's clock in microseconds, for its own buckets.
        times: how patient the store is.

    Attributes:
        taken: requests that got all their tokens, wherever the answer came from.
        refused: requests that did not.
        batches: commands sent.
        failures: how often a connection could not be opened, broke or was late.
    """

    def __init__(self, now_us: Callable[[], int], times: RedisTimes) -> None:
        self.taken = 0
        self.refused = 0
        self.batches = 0
        self.failures = 0
        self._times = times
        self._stand_in = StandIn(now_us)
        self._heartbeat = Heartbeat(os.urandom(8).hex(), self._seen)
        self._reachable = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    @property
    def local(self) -> Mapping[str, int]:
        """Requests that Redis did not answer, looks included, by what did."""
        return self._stand_in.answered

    @property
    def instances(self) -> int:
        """How many processes share the buckets, as far as was seen."""
        return self._stand_in.instances

    @property
    @abc.abstractmethod
    def state(self) -> str:
        """Return "ok", or "degraded" while some takes are answered without Redis."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Try to connect; if that fails, go on trying in the background."""

    @abc.abstractmethod
    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Take from every bucket what it shall cost, or from none."""

    @abc.abstractmethod
    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds."""

    @abc.abstractmethod
    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket hold more until an instant, and fill it in."""

    @abc.abstractmethod
    def tell(self, takes: Sequence[Take]) -> None:
        """Settle what the stand-in has settled by itself; owe what cannot be sent."""

    async def close(self) -> None:
        """Stop what goes on beside takes; the links are closed by who has them."""
        await self._heartbeat.stop()
        await end(self._telling)

    # What links tell.

    def count(self, takes: Sequence[Take], *, everywhere: bool) -> None:
        """Note a request that was answered."""
        if not everywhere:
            self.refused += 1
        elif asks(takes):
            self.taken += 1

    def unanswered(
        self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None
    ) -> None:
        """Answer what a link has not answered."""
        if waiter is None:
            self._stand_in.settle(takes)
        elif isinstance(waiter, Told):
            self._stand_in.owe(takes)
        elif isinstance(waiter, Loan):
            self._stand_in.lend(takes[0], waiter.until_us)
        else:
            waiter.set(self._take_locally(takes))

    def misplaced(self, batch: Batch, error: str) -> bool:
        """Let it fail: one server has every key."""
        del batch, error
        return False

    def opened(self, link: RedisLink) -> None:
        """Tell Redis, now that it is back, what was taken meanwhile."""
        del link
        self._reachable.set()
        if self._telling is None:
            self._telling = asyncio.create_task(self._keep_telling())

    def failed(self, link: RedisLink) -> None:
        """Count it."""
        del link
        self.failures += 1

    def sent(self) -> None:
        """Count a batch."""
        self.batches += 1

    # The rest.

    def _take_locally(self, takes: Sequence[Take]) -> list[Grant]:
        grants = self._stand_in.take(takes)
        self.count(takes, everywhere=served(takes, grants))
        return grants

    def _seen(self, instances: int) -> None:
        self._stand_in.instances = instances

    async def _keep_telling(self) -> None:
        while True:
            await self._reachable.wait()
            self._reachable.clear()
            owed = self._stand_in.owed()
            while owed:
                self.tell(owed[:_TOLD_AT_ONCE])
                del owed[:_TOLD_AT_ONCE]
                await asyncio.sleep(_TOLD_EVERY)


class RedisStore(SharedStore):
    """Buckets in one Redis, or in the master that Sentinels name.

    Args:
        url: see ``RedisAddress``.
        now_us: this process's clock in microseconds, for its own buckets.
        timeout: seconds that a take waits at the most.
        connect_timeout: seconds for a new connection: a name, a TLS handshake, AUTH,
            the script.
        max_in_flight: commands under way at a time.
        max_failures: failures in a row after which attempts are spaced.
        probe_every: seconds between spaced attempts.
        clock: what the script takes for the time instead of the server's clock, in
            microseconds; None outside of tests.

    Raises:
        ValueError: the URL is not one, or that of a Cluster.
    """

    def __init__(
        self,
        url: str,
        now_us: Callable[[], int],
        *,
        timeout: float = 0.02,
        connect_timeout: float = 1.0,
        max_in_flight: int = 2,
        max_failures: int = 3,
        probe_every: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        times = RedisTimes(
            timeout, connect_timeout, max_in_flight, max_failures, probe_every, clock
        )
        super().__init__(now_us, times)
        address = RedisAddress.parse(url)
        if address.kind == "cluster":
            raise ValueError("a Cluster has a store of its own")
        self._pool = address.pool()
        connect = functools.partial(open_wire, self._pool, SCRIPT)
        self._link = RedisLink(self, connect, times)

    @property
    def state(self) -> str:
        """Return "ok", or "degraded" while takes are answered without Redis."""
        return "ok" if self._link.open else "degraded"

    async def open(self) -> None:
        """Try to connect once; if that fails, go on trying in the background.

        Without it, the first take starts connecting and is answered locally.
        """
        if not await self._link.connect():
            self._link.reconnect()
        self._heartbeat.start(lambda _key: self._link)

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Take from every bucket what it shall cost, or from none."""
        if not takes:
            return Waiter.of([])
        link = self._link
        if not link.open:
            link.reconnect()
            return Waiter.of(self._take_locally(takes))
        waiter: Waiter[list[Grant]] = Waiter()
        link.add(takes, waiter)
        return waiter

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds."""
        if not self._link.open:
            self._stand_in.settle(takes)
        elif takes:
            self._link.add(takes, None)

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket hold more until an instant, and fill it in."""
        if self._link.open:
            self._link.add((take,), Loan(until_us))
        else:
            self._stand_in.lend(take, until_us)

    def tell(self, takes: Sequence[Take]) -> None:
        """Settle what the stand-in has settled by itself; owe what cannot be sent."""
        if self._link.open:
            self._link.add(takes, TOLD)
        else:
            self._stand_in.owe(takes)

    async def close(self) -> None:
        """Close the connection; whoever still waits is answered locally."""
        await super().close()
        await self._link.close()
        await close_pool(self._pool)
