"""What answers for limits while the store of their buckets does not.

Each limit says what it does then (``OnStoreFailure``): LOCAL counts in buckets of this
process alone, each its share of the whole; DENY refuses; ALLOW lets pass. All or none
holds here too: a request that one limit refuses takes from no other.

What was taken from local buckets is remembered, so that the store can be told once it
is back. Without that, every loss would be worth another burst.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from proxy.core.bucket import HOLDS, Grant, RateLimit
from proxy.core.limit import OnStoreFailure
from proxy.core.limits import Take
from proxy.edge.bucket_store import MemoryStore

DENIED_FOR: Final = 1.0
"""Seconds after which to ask again a limit that cannot be counted."""

MAX_OWED: Final = 100_000
"""Buckets whose local takes are remembered, at some hundred bytes each."""

_MAX_SHARES: Final = 4096
"""Far above limits x roles; every reload leaves some behind, so they are bounded."""


class StandIn:
    """Answers takes without a store.

    Args:
        now_us: this process's clock, in microseconds from any origin.

    Attributes:
        answered: requests, looks included, by what answered them: "local", "allow" or
            "deny"; where limits of one request differ, the strictest of theirs.
        instances: among how many processes a limit is divided.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.answered = {"local": 0, "allow": 0, "deny": 0}
        self.instances = 1
        self._buckets = MemoryStore(now_us)
        self._shares: dict[tuple[RateLimit, int], RateLimit] = {}
        self._owed: dict[str, tuple[Take, int]] = {}

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge the buckets of this process, or give back."""
        local = [one for one in takes if one.quota.on_failure is OnStoreFailure.LOCAL]
        self._buckets.settle([self._shared(one) for one in local])
        self.owe(local)

    def take(self, takes: Sequence[Take]) -> list[Grant]:
        """Take from every bucket what it shall cost, or from none.

        Returns:
            One grant for each bucket, in order; ``lost`` where a limit denies.
        """
        local, denied = [], False
        for one in takes:
            denied = denied or one.quota.on_failure is OnStoreFailure.DENY
            if one.quota.on_failure is OnStoreFailure.LOCAL:
                local.append(one)
        word = "deny" if denied else "local" if local else "allow"
        self.answered[word] += 1
        if denied:  # nobody who is refused takes anything
            local = [one.costing(0) for one in local]
        grants = self._buckets.take_now([self._shared(one) for one in local])
        if served(local, grants):
            self.owe(spent(local, grants))
        if len(local) == len(takes):
            return grants
        found = iter(grants)
        return [_grant_of(one, found) for one in takes]

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket of this process hold more until an instant."""
        if take.quota.on_failure is OnStoreFailure.LOCAL:
            self._buckets.lend(self._shared(take), until_us)

    def owed(self) -> list[Take]:
        """Return what the store has to be told of, and forget it."""
        owed, self._owed = self._owed, {}
        return [take.costing(tokens) for take, tokens in owed.values() if tokens]

    def owe(self, takes: Sequence[Take]) -> None:
        """Remember what the store has to be told; past the bound, forgive what is new.

        Args:
            takes: each with what it charged, or with what it gave back below 0.
        """
        owed = self._owed
        for one in takes:
            entry = owed.get(one.key)
            if one.limit.kind == HOLDS:
                continue  # who holds renews it, and then the store knows
            if entry is not None:
                owed[one.key] = entry[0], entry[1] + one.cost
            elif one.cost and len(owed) < MAX_OWED:
                owed[one.key] = one, one.cost

    def _shared(self, take: Take) -> Take:
        """Return this process's share of a bucket."""
        if self.instances == 1:
            return take
        known = take.limit, self.instances
        share = self._shares.get(known)
        if share is None:
            if len(self._shares) >= _MAX_SHARES:
                self._shares.clear()
            share = self._shares[known] = take.limit.shared_by(self.instances)
        # A level of another share is in other units, so it is another bucket.
        key = f"{take.key}/{self.instances}"
        return Take(key, share, take.quota, take.cost, take.hold)


def served(takes: Sequence[Take], grants: Sequence[Grant]) -> bool:
    """Say whether a request got all that it must have."""
    return all(
        grant.allowed or take.cost < 0
        for take, grant in zip(takes, grants, strict=True)
    )


def spent(takes: Sequence[Take], grants: Sequence[Grant]) -> list[Take]:
    """Return what a request that was served has taken, each bucket once."""
    once = {
        take.key: take.costing(abs(take.cost))
        for take, grant in zip(takes, grants, strict=True)
        if take.cost and grant.allowed
    }
    return list(once.values())


def _grant_of(take: Take, local: Iterator[Grant]) -> Grant:
    match take.quota.on_failure:
        case OnStoreFailure.LOCAL:
            return next(local)
        case OnStoreFailure.ALLOW:
            return Grant(True, take.limit.burst, 0.0, 0.0)
        case OnStoreFailure.DENY:
            return Grant(False, 0, DENIED_FOR, take.limit.window_seconds, lost=True)
