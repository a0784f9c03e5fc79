"""Which server of a backend gets a request, and which one gets none for a while.

With one server there is nothing to decide, and ``Balancer.only`` says so: a request
costs one look at an attribute. With several the choice is one pass over them, which
allocates nothing. Servers that a health check does not reach, or that were ejected, are
passed over; when there is no other, they are asked all the same: one answer that comes
is better than a refusal that is certain.
"""

import logging
from collections.abc import Callable
from typing import Final

from proxy.core.backends import Backend, Balance
from proxy.edge.owners import PoolOwner
from proxy.edge.pool import Pool, busy

log = logging.getLogger("lumina.upstream")

MOST_SECONDS: Final = 300.0
"""The longest that a server which fails again and again is left alone."""


class Tally:
    """What happened at a backend since the process began; outlives every reload.

    Attributes:
        retries: requests that were sent, or servers that were asked, again.
        failures: exchanges that failed and connections that were not taken, by server.
        ejections: how often a server was ejected, by server.
    """

    __slots__ = ("ejections", "failures", "retries")

    def __init__(self) -> None:
        self.retries = 0
        self.failures: dict[str, int] = {}
        self.ejections: dict[str, int] = {}


class Balancer(PoolOwner):
    """The servers of one backend.

    Args:
        backend: as the policy has it.
        tally: told what happens.
        now: the loop's time, in seconds.

    Attributes:
        pools: in the order of the policy.
        only: the pool of a backend with one server, whose pool's own bounds are all
            there are; None otherwise.
    """

    def __init__(
        self, backend: Backend, tally: Tally, now: Callable[[], float]
    ) -> None:
        self.backend = backend
        self.retry = backend.retry
        self.pools: list[Pool] = []
        self.only: Pool | None = None
        self._tally = tally
        self._now = now
        self._turn = 0

    def configure(self, backend: Backend, pools: list[Pool]) -> None:
        """Have these servers from now on; none of them belongs to another backend."""
        self.backend = backend
        self.retry = backend.retry
        self.pools = pools
        alone = len(pools) == 1 and backend.breaker.in_flight is None
        self.only = pools[0] if alone else None

    def choose(self) -> Pool:
        """Return the pool that gets the next request.

        Raises:
            Refused: UPSTREAM_BUSY, the backend has as many as it may have.
        """
        most = self.backend.breaker.in_flight
        if most is not None and self._outstanding() >= most:
            raise busy()
        self._turn = (self._turn + 1) % len(self.pools)
        pool = self._best(None, self._now())
        # A pool without room refuses by itself.
        return self.pools[0] if pool is None else pool

    def _outstanding(self) -> int:
        total = 0
        for pool in self.pools:
            total += pool.outstanding
        return total

    def _best(self, avoided: Pool | None, now: float) -> Pool | None:
        """Return the best pool with room, or None: those in service come first."""
        pools, count = self.pools, len(self.pools)
        turn = self._turn % count
        in_turn = self.backend.balance is Balance.ROUND_ROBIN
        best: Pool | None = None
        least, best_serves = 0, False
        for index in range(count):
            # Ties go round, so that the first of idle servers does not get them all.
            pool = pools[(turn + index) % count]
            if pool is avoided or not pool.has_room:
                continue
            serves = pool.up and pool.ejected_until <= now
            load = 0 if in_turn else pool.outstanding
            if (
                best is None
                or (serves and not best_serves)
                or (serves == best_serves and load < least)
            ):
                best, least, best_serves = pool, load, serves
        return best

    def other(self, pool: Pool) -> Pool | None:
        """Return the pool of another server that may be asked; None for none."""
        if len(self.pools) == 1:
            return None
        return self._best(pool, self._now())

    def retried(self) -> None:
        """Count a request that is sent, or a server that is asked, again."""
        self._tally.retries += 1

    def failed(self, pool: Pool) -> None:
        """Count a failure of a server, and eject it if there were too many in a row."""
        address = pool.server.address
        counts = self._tally.failures
        counts[address] = counts.get(address, 0) + 1
        ejection, now = self.backend.ejection, self._now()
        if (
            ejection is None
            or pool.failures < ejection.after
            or pool.ejected_until > now
            or pool.retired
        ):
            return
        most = ejection.at_most
        if most is None:
            most = len(self.pools) // 2
        if sum(1 for one in self.pools if one.ejected_until > now) >= most:
            return
        # One that has served for as long as it was last left alone begins anew.
        if now - pool.ejected_until > ejection.seconds * pool.ejections:
            pool.ejections = 0
        pool.ejections += 1
        seconds = min(ejection.seconds * pool.ejections, MOST_SECONDS)
        pool.ejected_until = now + seconds
        # Back in service, the first failure is enough; the first answer forgives.
        pool.failures = ejection.after - 1
        ejections = self._tally.ejections
        ejections[address] = ejections.get(address, 0) + 1
        log.warning(
            "backend %s: %s failed %d times and gets no requests for %gs",
            *(self.backend.id, address, ejection.after, seconds),
        )
