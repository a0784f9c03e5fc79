"""Token-bucket arithmetic on integers: the specification that ``take.lua`` transcribes.

Rules of this file:

1. ``now`` is an argument, in whole microseconds. A clock that goes back counts as no
   time passed. A state from further ahead than the bucket takes to fill is not
   believed: the clock was wrong when it was written, and the bucket counts as full
   rather than shutting its owner out until that instant.
2. Everything is an exact integer. A rate of ``count`` tokens per ``period`` is kept as
   "``refill`` units per microsecond, ``token`` units per token", the smallest whole
   numbers with that ratio, so nothing is ever rounded and no drift exists.
3. No product may pass 2^53, for Lua's numbers are doubles. ``RateLimit.of`` refuses a
   rate that would, so no request has to check.
4. Compute, decide, then write: nothing here changes its arguments.
5. What is charged afterwards is charged even if it is not there. The bucket then owes
   it: it is empty until an instant ahead of now, and fills from there. Nobody owes
   more than a full bucket.

A bucket is the pair (level in units, instant of that level in microseconds). A bucket
that was never touched is full, so a full one need not be kept. ``counting`` takes from
several at once, and from what is counted in other ways.
"""

import dataclasses
import math
from typing import Final, NamedTuple

MAX_EXACT: Final = 2**53
"""The largest integer range that a double holds exactly (IEEE 754)."""

MICROSECONDS: Final = 1_000_000

NEVER: Final = math.inf
"""A wait that would not help."""

State = tuple[int, int]
"""(level in units, instant in microseconds)."""


BUCKET: Final = 0
WINDOW: Final = 1
HOLDS: Final = 2
BACKOFF: Final = 3
"""The kinds of limits; what the others do is in ``counting``."""

HOLD_US: Final = 10 * MICROSECONDS
"""How long a hold lasts unless it is renewed: longer than a store may be lost."""

MAX_FAILURES: Final = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimit:
    """How something is limited, as integers that Python and Lua agree on.

    A bucket (``of``) refills all the time. A window (``window``) is full again at an
    instant. Holds (``holds``) are how many there may be at a time, and a back-off
    (``backoff``) makes each failure wait longer than the one before.

    Attributes:
        count: tokens per period; of a back-off, failures that wait for nothing.
        period_us: the period in microseconds; 0 for holds.
        burst: how many tokens the full bucket holds; at least 1.
        refill: units that flow in per microsecond; 0 where there is no flow.
        token: units that make one token.
        capacity: units that the full bucket holds.
        kind: BUCKET, WINDOW, HOLDS or BACKOFF.
        until_us: when a window ends, in epoch microseconds.
        wait_us: what follows the first failure that has to wait, in microseconds; it
            doubles with each one more.
        most_us: the longest wait.
    """

    count: int
    period_us: int
    burst: int
    refill: int
    token: int
    capacity: int
    kind: int = BUCKET
    until_us: int = 0
    wait_us: int = 0
    most_us: int = 0

    @classmethod
    def of(cls, count: int, period_us: int, burst: int | None = None) -> "RateLimit":
        """Build a limit of ``count`` tokens per ``period_us``.

        Args:
            count: tokens per period; at least 1.
            period_us: microseconds; at least 1.
            burst: the bucket's size in tokens; None means ``count``.

        Raises:
            ValueError: a number is below 1, or the limit cannot be held exactly; the
                message says which and what to do.
        """
        burst = count if burst is None else burst
        if count < 1 or period_us < 1 or burst < 1:
            raise ValueError("rate, period and burst must be at least 1")
        divisor = math.gcd(count, period_us)
        refill, token = count // divisor, period_us // divisor
        capacity = burst * token
        # Elapsed time counts up to a full bucket: refill * elapsed < capacity + refill.
        if capacity + refill >= MAX_EXACT:
            raise ValueError(
                "this rate cannot be counted exactly; use a smaller burst, or a rate "
                "that divides its period evenly"
            )
        return cls(count, period_us, burst, refill, token, capacity)

    @classmethod
    def window(cls, count: int, period_us: int, until_us: int = 0) -> "RateLimit":
        """Build a limit of ``count`` tokens until an instant.

        Args:
            count: tokens; at least 1.
            period_us: how long the window is, in microseconds; for people.
            until_us: its end, in epoch microseconds.
        """
        return cls(count, period_us, count, 0, 1, count, WINDOW, until_us)

    @classmethod
    def holds(cls, count: int) -> "RateLimit":
        """Build a limit of ``count`` holds at a time; at least 1."""
        return cls(count, 0, count, 0, 1, count, HOLDS)

    @classmethod
    def backoff(
        cls, free: int, wait_us: int, most_us: int, forget_us: int
    ) -> "RateLimit":
        """Build a limit of failures.

        Args:
            free: failures that wait for nothing; at least 1.
            wait_us: after the first of the others; at least 1.
            most_us: the longest wait; at least ``wait_us``.
            forget_us: after so long without a failure, all are forgotten.
        """
        most = MAX_FAILURES
        return cls(free, forget_us, most, 0, 1, most, BACKOFF, 0, wait_us, most_us)

    def shared_by(self, instances: int) -> "RateLimit":
        """Return one instance's share, when each of them counts by itself.

        Together they give the rate, and the burst but for what does not divide; each
        has a token at the least. More instances than can be counted exactly share as
        far as they can. Failures are not divided: each instance counts its own.
        """
        burst = max(1, self.burst // instances)
        if self.kind == WINDOW:
            return RateLimit.window(burst, self.period_us, self.until_us)
        if self.kind == HOLDS:
            return RateLimit.holds(burst)
        while self.kind == BUCKET and instances > 1:
            try:
                return RateLimit.of(self.count, self.period_us * instances, burst)
            except ValueError:
                instances //= 2
                burst = max(1, self.burst // instances)
        return self

    @property
    def window_seconds(self) -> int:
        """Seconds in which the empty bucket fills, rounded up; the period by default.

        With ``burst`` as the ``q`` of ``RateLimit-Policy`` this is its ``w``: their
        ratio is the rate, whatever the burst.
        """
        if not self.refill:
            return self.period_us // MICROSECONDS
        return -(-self.capacity // (self.refill * MICROSECONDS))


class Grant(NamedTuple):
    """The answer of one bucket to one take.

    Attributes:
        allowed: whether the tokens were there.
        remaining: whole tokens left.
        retry_after: seconds until this take could succeed; 0.0 when allowed, infinity
            when the cost is above the burst.
        reset_after: seconds until the bucket is full again.
        lost: whether no bucket was asked, and the limit refuses without one.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    lost: bool = False


def us_until_full(limit: RateLimit, level: int, extra: int = 0) -> int:
    """Return the microseconds in which ``level`` grows to the capacity, rounded up.

    Args:
        limit: the limit of the bucket.
        level: units in it; above the capacity, the result is below 0.
        extra: units that the bucket holds beyond its capacity for a while.
    """
    return -(-(limit.capacity + extra - level) // limit.refill)


def level_at(
    limit: RateLimit, state: State | None, now_us: int, extra: int = 0
) -> State:
    """Return the bucket as it stands at ``now_us``, without changing anything.

    Args:
        limit: the limit of the bucket.
        state: the bucket's state; None is a bucket never touched.
        now_us: the instant, in microseconds.
        extra: units that the bucket holds beyond its capacity for a while.
    """
    if state is None:
        return limit.capacity + extra, now_us
    level, at_us = state
    elapsed = now_us - at_us
    if elapsed <= 0:
        if -elapsed > us_until_full(limit, 0):
            return limit.capacity + extra, now_us
        return min(level, limit.capacity + extra), at_us
    if elapsed >= us_until_full(limit, level, extra):
        return limit.capacity + extra, now_us
    return level + elapsed * limit.refill, now_us


def grant_of(
    limit: RateLimit, level: int, cost: int, *, allowed: bool, ahead_us: int = 0
) -> Grant:
    """Say what a level means to the one who asked.

    Args:
        limit: the limit of the bucket.
        level: units in the bucket after the decision.
        cost: tokens that were asked for.
        allowed: whether this bucket had them.
        ahead_us: how far ahead of now the instant of the level is, in microseconds.
    """
    if allowed:
        retry_after = 0.0
    elif cost > limit.burst:
        retry_after = NEVER
    else:
        missing = cost * limit.token - level
        retry_after = (ahead_us - (-missing // limit.refill)) / MICROSECONDS
    until_full = us_until_full(limit, level)
    if until_full > 0:
        until_full += ahead_us
    else:
        until_full = 0
    return Grant(allowed, level // limit.token, retry_after, until_full / MICROSECONDS)


def settle(
    limit: RateLimit, state: State | None, now_us: int, tokens: int, extra: int = 0
) -> State:
    """Charge or give back tokens, whatever the bucket holds; return its new state.

    Args:
        limit: the limit of the bucket.
        state: the bucket's state; None is a bucket never touched.
        now_us: the instant, in microseconds.
        tokens: to charge; below 0 to give back. As much as a whole burst or more
            given back makes the bucket full, and what it owes forgotten.
        extra: units that the bucket holds beyond its capacity for a while.

    Example:
        >>> limit = RateLimit.of(2, 60 * MICROSECONDS)
        >>> owing = settle(limit, (0, 0), 0, 1)
        >>> owing
        (0, 30000000)
    """
    capacity = limit.capacity + extra
    if tokens <= -limit.burst:
        return capacity, now_us
    level, at_us = level_at(limit, state, now_us, extra)
    units = min(tokens, limit.burst) * limit.token
    if units <= level:
        if at_us > now_us and units < 0:
            # What is owed is given back first: the time that it takes to fill in.
            sooner = min(at_us - now_us, -units // limit.refill)
            at_us -= sooner
            units += sooner * limit.refill
        return min(level - units, capacity), at_us
    missing = units - level
    later = -(-missing // limit.refill)
    latest = min(now_us + us_until_full(limit, 0), MAX_EXACT - 1)
    if at_us + later > latest:
        return 0, latest
    return later * limit.refill - missing, at_us + later
