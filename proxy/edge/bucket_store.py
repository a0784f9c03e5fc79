"""Where buckets are kept: the port that the data path takes through, and one in memory.

``redis_store`` is the other implementation; both pass the same conformance suite. No
store knows a rule, a role or a subject: it gets keys and limits, and gives grants.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from proxy.core.bucket import HOLD_US, HOLDS, Grant, State
from proxy.core.counting import forgotten_at, raised, settle, take
from proxy.core.limits import Take, asks
from proxy.edge.waiter import Waiter

_SHARDS: Final = 256
"""Dictionaries grow by copying themselves; small ones do it without a pause."""


_FEW: Final = 256
"""Keys with holds, or loans, that are not worth forgetting."""


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

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket or window hold ``take.cost`` more, and fill that in.

        As ``settle``, nobody waits for it. What was lent before stays lent too, until
        the new instant; what is not used by then is gone.

        Args:
            take: the bucket, and how many tokens more.
            until_us: when it ends, in epoch microseconds.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds open."""
        ...


class _Held:
    """The holds of one key.

    Attributes:
        lapse_us: when each of them lapses, by its id.
    """

    __slots__ = ("_soonest_us", "lapse_us")

    def __init__(self) -> None:
        self.lapse_us: dict[str, int] = {}
        # None lapses before, so that they need not be looked at one by one.
        self._soonest_us = 0

    def count(self, now_us: int) -> int:
        """Return how many last."""
        if now_us < self._soonest_us:
            return len(self.lapse_us)
        return sum(1 for lapse_us in self.lapse_us.values() if lapse_us > now_us)

    def add(self, hold: str, now_us: int) -> None:
        """Begin or renew a hold, and forget those that lapsed."""
        if now_us >= self._soonest_us:
            lasting = {
                one: lapse_us
                for one, lapse_us in self.lapse_us.items()
                if lapse_us > now_us
            }
            self.lapse_us = lasting
            self._soonest_us = min(lasting.values(), default=now_us + HOLD_US)
        self.lapse_us[hold] = now_us + HOLD_US
        self._soonest_us = min(self._soonest_us, now_us + HOLD_US)


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
        # Both have an entry only while something is held or lent.
        self._holds: OrderedDict[str, _Held] = OrderedDict()
        self._lent: dict[str, tuple[int, int]] = {}

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
            if one.limit.kind == HOLDS:
                self._settle_hold(one, now_us)
                continue
            extra = self._extra(one.key, now_us)
            state = self._read(one.key)
            state = settle(one.limit, state, now_us, one.cost, extra)
            self._write(one, state, now_us, extra)

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket hold more until an instant, and fill it in."""
        now_us = self._now_us()
        if until_us <= now_us:
            return
        if len(self._lent) > _FEW:
            lent = self._lent.items()
            self._lent = {key: loan for key, loan in lent if loan[1] > now_us}
        extra = self._extra(take.key, now_us)
        state = self._read(take.key)
        state, extra = raised(take.limit, state, now_us, extra, take.cost)
        self._lent[take.key] = extra, until_us
        self._write(take, state, now_us, extra)

    async def close(self) -> None:
        """Forget everything."""
        for shard in self._shards:
            shard.clear()
        self._holds.clear()
        self._lent.clear()

    def take_now(self, takes: Sequence[Take]) -> list[Grant]:
        """Take from every bucket what it shall cost, or from none."""
        if not takes:
            return []
        now_us = self._now_us()
        asked = [
            (
                one.limit,
                self._read(one.key)
                if one.limit.kind != HOLDS
                else self._held(one, now_us),
                one.cost,
                self._extra(one.key, now_us) if self._lent else 0,
            )
            for one in takes
        ]
        states, grants = take(asked, now_us)
        if states is not None:
            self.taken += 1
            for one, state, grant, (_, _, _, extra) in zip(
                takes, states, grants, asked, strict=True
            ):
                if not one.cost or not grant.allowed:
                    continue
                if one.limit.kind == HOLDS:
                    self._begin_hold(one, now_us)
                else:
                    self._write(one, state, now_us, extra)
        elif asks(takes):
            self.refused += 1
        return grants

    def _held(self, take: Take, now_us: int) -> State:
        held = self._holds.get(take.key)
        if held is None:
            return 0, 0
        return held.count(now_us), 0

    def _begin_hold(self, take: Take, now_us: int) -> None:
        holds, key = self._holds, take.key
        if key not in holds:
            self._forget_lapsed(now_us)
            holds[key] = _Held()
        holds[key].add(take.hold, now_us)

    def _settle_hold(self, take: Take, now_us: int) -> None:
        """Begin, renew or end a hold."""
        holds, key = self._holds, take.key
        if not take.hold:
            holds.pop(key, None)
        elif take.cost > 0:
            self._begin_hold(take, now_us)
        elif key in holds:
            holds[key].lapse_us.pop(take.hold, None)
            if not holds[key].lapse_us:
                del holds[key]

    def _forget_lapsed(self, now_us: int) -> None:
        """Look at the two oldest of many; forget those that nobody renewed."""
        for _ in range(2 if len(self._holds) > _FEW else 0):
            key, held = self._holds.popitem(last=False)
            if held.count(now_us):
                self._holds[key] = held

    def _extra(self, key: str, now_us: int) -> int:
        """Return the units that a bucket holds beyond its capacity for now."""
        lent = self._lent.get(key)
        return lent[0] if lent and lent[1] > now_us else 0

    def _read(self, key: str) -> State | None:
        entry = self._shard(key).get(key)
        return None if entry is None else entry[:2]

    def _write(self, take: Take, state: State, now_us: int, extra: int) -> None:
        shard = self._shard(take.key)
        if take.key not in shard:
            self._sweep(shard, now_us)
        level, at_us = state
        full_at = forgotten_at(take.limit, state, extra)
        shard[take.key] = (level, at_us, full_at)
        if self._lent and not extra:
            self._lent.pop(take.key, None)

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
