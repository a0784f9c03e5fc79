"""Buckets in this process: for one process without Redis, and while Redis is lost."""

from collections.abc import Callable, Sequence

from proxy.core import bucket
from proxy.core.bucket import Grant, State
from proxy.core.limits import Take

_FEW = 1024
"""Buckets that are not worth looking through for full ones."""


class MemoryStore:
    """Buckets in a dict.

    A full bucket is the same as none, so what is full is dropped, a few at a time with
    every take: a million keys make no pause. Past ``max_keys`` the oldest is dropped
    though it is not full; memory is bounded whatever clients do.

    Args:
        now_us: the clock, in microseconds.
        max_keys: how many buckets are kept at most.

    Attributes:
        taken: requests that got all their tokens.
        refused: requests that did not.
        failures: times the store did not answer: never.
        batches: round trips: none.
        state: "ok".
    """

    failures = 0
    batches = 0
    state = "ok"

    def __init__(self, now_us: Callable[[], int], *, max_keys: int = 1_000_000) -> None:
        self._now_us = now_us
        self._max_keys = max_keys
        self._buckets: dict[str, tuple[State, bucket.RateLimit]] = {}
        self._sweep: list[str] = []
        self.taken = 0
        self.refused = 0

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return len(self._buckets)

    async def take(self, takes: Sequence[Take], cost: int = 1) -> list[Grant]:
        """Take ``cost`` tokens from every bucket, or from none; never waits.

        Args:
            takes: the buckets.
            cost: tokens from each; 0 only looks.
        """
        now = self._now_us()
        buckets = self._buckets
        kept = [buckets.get(take.key) for take in takes]
        states, grants = bucket.take(
            [
                (take.limit, None if one is None else one[0])
                for take, one in zip(takes, kept, strict=True)
            ],
            now,
            cost,
        )
        if states is not None:
            self.taken += 1
            for take, state in zip(takes, states, strict=True):
                buckets[take.key] = (state, take.limit)
            self._forget(now)
        elif cost:
            self.refused += 1
        return grants

    def _forget(self, now: int) -> None:
        if not self._sweep:
            if len(self._buckets) < _FEW:
                return
            self._sweep = list(self._buckets)
        for _ in range(min(4, len(self._sweep))):
            key = self._sweep.pop()
            kept = self._buckets.get(key)
            if kept is not None:
                state, limit = kept
                level, _ = bucket.level_at(limit, state, now)
                if level == limit.capacity:
                    del self._buckets[key]
        while len(self._buckets) > self._max_keys:
            del self._buckets[next(iter(self._buckets))]

    async def close(self) -> None:
        """Forget everything."""
        self._buckets.clear()
