"""What answers for limits while the store of their buckets does not.

Each limit says what it does then (``OnStoreFailure``): LOCAL counts in buckets of this
process alone, DENY refuses, ALLOW lets pass. All or none holds here too: a request that
one limit refuses takes from no other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.core.policy import OnStoreFailure
from proxy.edge.bucket_store import MemoryStore

DENIED_FOR: Final = 1.0
"""Seconds after which to ask again a limit that cannot be counted."""


class StandIn:
    """Answers takes without a store.

    Args:
        now_us: this process's clock, in microseconds from any origin.

    Attributes:
        answered: requests, looks included, by what answered them: "local", "allow" or
            "deny"; where limits of one request differ, the strictest of theirs.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.answered = {"local": 0, "allow": 0, "deny": 0}
        self._buckets = MemoryStore(now_us)

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge the buckets of this process, or give back."""
        self._buckets.settle(
            [one for one in takes if one.quota.on_failure is OnStoreFailure.LOCAL]
        )

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket of this process hold more until an instant."""
        if take.quota.on_failure is OnStoreFailure.LOCAL:
            self._buckets.lend(take, until_us)

    def take(self, takes: Sequence[Take]) -> list[Grant]:
        """Take from every bucket what it shall cost, or from none.

        Returns:
            One grant for each bucket, in order; ``lost`` where a limit denies.
        """
        for one in takes:
            if one.quota.on_failure is not OnStoreFailure.LOCAL:
                return self._take_mixed(takes)
        self.answered["local"] += 1
        return self._buckets.take_now(takes)

    def _take_mixed(self, takes: Sequence[Take]) -> list[Grant]:
        local, denied = [], False
        for one in takes:
            denied = denied or one.quota.on_failure is OnStoreFailure.DENY
            if one.quota.on_failure is OnStoreFailure.LOCAL:
                local.append(one)
        word = "deny" if denied else "local" if local else "allow"
        self.answered[word] += 1
        # Somebody who is refused takes nothing.
        if denied:
            local = [one.costing(0) for one in local]
        grants = iter(self._buckets.take_now(local))
        return [_grant_of(one, grants) for one in takes]


def _grant_of(take: Take, local: Iterator[Grant]) -> Grant:
    match take.quota.on_failure:
        case OnStoreFailure.LOCAL:
            return next(local)
        case OnStoreFailure.ALLOW:
            return Grant(True, take.limit.burst, 0.0, 0.0)
        case OnStoreFailure.DENY:
            return Grant(False, 0, DENIED_FOR, take.limit.window_seconds, lost=True)
