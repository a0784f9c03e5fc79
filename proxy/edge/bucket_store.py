"""Where buckets are kept: the port that the data path takes through, and one in memory.

``redis_store`` is the other implementation; both pass the same conformance suite. No
store knows a rule, a role or a subject: it gets keys and limits, and gives grants.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from proxy.core.bucket import Grant, RateLimit, State, settle, take, us_until_full
from proxy.core.limits import Take, asks
from proxy.edge.waiter import Waiter

_SHARDS: Final = 256
"""Dictionaries grow by copying themselves; small ones do it without a pause."""


class BucketStore(Protocol):
    """Takes tokens from buckets.

    Attributes:
        taken: requests that got all their tokens.
        refused: requests that did not.
    """

    taken: int
    refused: int

    @property
    def batches(self) -> int:
        """Commands sent to a shared store, so far."""
        ...

    @property
    def failures(self) -> int:
        """How often a shared store failed, so far."""
        ...

    @property
    def local(self) -> Mapping[str, int]:
        """Requests that a shared store did not answer, by what was done instead."""
        ...

    @property
    def state(self) -> str:
        """Return "ok", or "degraded" while a fallback answers."""
        ...

    async def open(self) -> None:
        """Get ready; returns in bounded time whether or not it went well."""
        ...

    def take(self, takes: Sequence[Take]) -> Awaitable[list[Grant]]:
        """Take from every bucket what it shall cost, or from none; await the grants.

        Never raises, and never waits longer than the store's own bound.

        Args:
            takes: the buckets of one request. One with a cost of 0 is looked at.

        Returns:
            One grant for each bucket, in order; all allowed, or nothing was taken.
        """
        ...

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket its take's cost, or give back a cost below 0.

        It happens whatever the bucket holds (``core.bucket.settle``), after every take
        before it and before every take after it. Nobody waits for it, and what a
        store loses of it with its connection stays as it was.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds open."""
        ...


class MemoryStore:
    """Buckets of this process alone, in a bounded amount of memory.

    A full bucket is the same as an absent one, so every new key pays for looking at
    two of the oldest and forgetting those that are full: no timer, and no pause
    however many there are. Past ``max_keys`` the oldest goes even if it is not full,
    which gives its owner at most one burst.

    Args:
        now_us: the clock, in microseconds from any origin.
        max_keys: how many buckets to hold, to within the evenness of hashing.

    Attributes:
        taken: requests that got all their tokens.
        refused: requests that did not.
        batches: commands sent: none.
        failures: times the store failed: never.
        local: requests that a shared store did not answer: none.
        state: always "ok".
    """

    batches = 0
    failures = 0
    local: Mapping[str, int] = {}
    state = "ok"

    def __init__(self, now_us: Callable[[], int], *, max_keys: int = 1_000_000) -> None:
        self.taken = 0
        self.refused = 0
        self._now_us = now_us
        count = min(_SHARDS, max_keys)
        self._max_per_shard = max_keys // count
        # (level, at, full at): integers only, so that the collector passes them by.
        self._shards: list[OrderedDict[str, tuple[int, int, int]]] = [
            OrderedDict() for _ in range(count)
        ]

    def __len__(self) -> int:
        """How many buckets are held."""
        return sum(len(shard) for shard in self._shards)

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Take as ``take_now`` does; what is returned has its result."""
        return Waiter.of(self.take_now(takes))

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds."""
        now_us = self._now_us()
        for one in takes:
            state = settle(one.limit, self._read(one.key), now_us, one.cost)
            self._write(one.key, one.limit, state, now_us)

    async def close(self) -> None:
        """Forget everything."""
        for shard in self._shards:
            shard.clear()

    def take_now(self, takes: Sequence[Take]) -> list[Grant]:
        """Take from every bucket what it shall cost, or from none."""
        if not takes:
            return []
        now_us = self._now_us()
        buckets = [(one.limit, self._read(one.key), one.cost) for one in takes]
        states, grants = take(buckets, now_us)
        if states is not None:
            self.taken += 1
            for one, state in zip(takes, states, strict=True):
                if one.cost:
                    self._write(one.key, one.limit, state, now_us)
        elif asks(takes):
            self.refused += 1
        return grants

    def _read(self, key: str) -> State | None:
        entry = self._shard(key).get(key)
        return None if entry is None else entry[:2]

    def _write(self, key: str, limit: RateLimit, state: State, now_us: int) -> None:
        shard = self._shard(key)
        level, at_us = state
        if key not in shard:
            self._sweep(shard, now_us)
        shard[key] = (level, at_us, at_us + us_until_full(limit, level))

    def _shard(self, key: str) -> OrderedDict[str, tuple[int, int, int]]:
        return self._shards[hash(key) % len(self._shards)]

    def _sweep(
        self, shard: OrderedDict[str, tuple[int, int, int]], now_us: int
    ) -> None:
        """Look at the two oldest; forget the full, send the others to the back."""
        for _ in range(min(2, len(shard))):
            key, entry = shard.popitem(last=False)
            if entry[2] > now_us:
                shard[key] = entry
        if len(shard) >= self._max_per_shard:
            shard.popitem(last=False)
