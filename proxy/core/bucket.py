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
4. Compute, decide, then write: nothing here changes its arguments. All buckets of a
   request give their tokens, or none does.
5. What is charged afterwards is charged even if it is not there. The bucket then owes
   it: it is empty until an instant ahead of now, and fills from there. Nobody owes
   more than a full bucket.

A bucket is the pair (level in units, instant of that level in microseconds). A bucket
that was never touched is full, so a full one need not be kept.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_EXACT: Final = 2**53
"""The largest integer range that a double holds exactly (IEEE 754)."""

MICROSECONDS: Final = 1_000_000

State = tuple[int, int]
"""(level in units, instant in microseconds)."""


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimit:
    """A rate and a burst, as integers that Python and Lua agree on.

    Attributes:
        count: tokens per period.
        period_us: the period in microseconds.
        burst: how many tokens the bucket holds; at least 1.
        refill: units that flow in per microsecond.
        token: units that make one token.
        capacity: units that the full bucket holds.
    """

    count: int
    period_us: int
    burst: int
    refill: int
    token: int
    capacity: int

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

    def shared_by(self, instances: int) -> "RateLimit":
        """Return one instance's share, when each of them has a bucket of its own.

        Together they give the rate, and the burst but for what does not divide; each
        bucket holds a token at the least. More instances than can be counted exactly
        share as far as they can.
        """
        while instances > 1:
            try:
                return RateLimit.of(
                    self.count,
                    self.period_us * instances,
                    max(1, self.burst // instances),
                )
            except ValueError:
                instances //= 2
        return self

    @property
    def window_seconds(self) -> int:
        """Seconds in which the empty bucket fills, rounded up; the period by default.

        With ``burst`` as the ``q`` of ``RateLimit-Policy`` this is its ``w``: their
        ratio is the rate, whatever the burst.
        """
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


def us_until_full(limit: RateLimit, level: int) -> int:
    """Return the microseconds in which ``level`` grows to the capacity, rounded up."""
    return -(-(limit.capacity - level) // limit.refill)


def level_at(limit: RateLimit, state: State | None, now_us: int) -> State:
    """Return the bucket as it stands at ``now_us``, without changing anything."""
    if state is None:
        return limit.capacity, now_us
    level, at_us = state
    elapsed = now_us - at_us
    if elapsed <= 0:
        if -elapsed > us_until_full(limit, 0):
            return limit.capacity, now_us
        return min(level, limit.capacity), at_us
    if elapsed >= us_until_full(limit, level):
        return limit.capacity, now_us
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
        retry_after = math.inf
    else:
        missing = cost * limit.token - level
        retry_after = (ahead_us - (-missing // limit.refill)) / MICROSECONDS
    until_full = us_until_full(limit, level)
    if ahead_us and until_full:
        until_full += ahead_us
    return Grant(allowed, level // limit.token, retry_after, until_full / MICROSECONDS)


def take(
    buckets: Sequence[tuple[RateLimit, State | None, int]], now_us: int
) -> tuple[list[State] | None, list[Grant]]:
    """Take from every bucket what it shall cost, or from none.

    Args:
        buckets: each bucket's limit, its state (None is a bucket never touched), and
            the tokens to take from it; 0 only looks.
        now_us: the instant, in microseconds.

    Returns:
        The new states in the same order, None when nothing was taken, and the grants.
        A bucket that had the tokens while another had not says ``allowed`` and its
        untouched remaining.

    Example:
        >>> limit = RateLimit.of(2, 60 * MICROSECONDS)
        >>> states, [grant] = take([(limit, None, 1)], now_us=0)
        >>> grant.allowed, grant.remaining, grant.reset_after
        (True, 1, 30.0)
    """
    current: list[tuple[RateLimit, int, int, int, bool]] = []
    everywhere, something = True, False
    for limit, state, cost in buckets:
        level, at_us = level_at(limit, state, now_us)
        enough = level >= cost * limit.token
        everywhere = everywhere and enough
        something = something or cost > 0
        current.append((limit, level, at_us, cost, enough))
    taken = everywhere and something
    states: list[State] = []
    grants: list[Grant] = []
    for limit, level, at_us, cost, enough in current:
        if taken:
            level -= cost * limit.token
        states.append((level, at_us))
        ahead_us = at_us - now_us if at_us > now_us else 0
        grants.append(grant_of(limit, level, cost, allowed=enough, ahead_us=ahead_us))
    return (states if taken else None), grants


def settle(limit: RateLimit, state: State | None, now_us: int, tokens: int) -> State:
    """Charge or give back tokens, whatever the bucket holds; return its new state.

    Args:
        limit: the limit of the bucket.
        state: the bucket's state; None is a bucket never touched.
        now_us: the instant, in microseconds.
        tokens: to charge; below 0 to give back. As much as a whole burst or more
            given back makes the bucket full, and what it owes forgotten.

    Example:
        >>> limit = RateLimit.of(2, 60 * MICROSECONDS)
        >>> owing = settle(limit, (0, 0), 0, 1)
        >>> take([(limit, owing, 1)], now_us=0)[1][0].retry_after
        60.0
    """
    if tokens <= -limit.burst:
        return limit.capacity, now_us
    level, at_us = level_at(limit, state, now_us)
    units = min(tokens, limit.burst) * limit.token
    if units <= level:
        if at_us > now_us and units < 0:
            # What is owed is given back first: the time that it takes to fill in.
            sooner = min(at_us - now_us, -units // limit.refill)
            at_us -= sooner
            units += sooner * limit.refill
        return min(level - units, limit.capacity), at_us
    missing = units - level
    later = -(-missing // limit.refill)
    latest = min(now_us + us_until_full(limit, 0), MAX_EXACT - 1)
    if at_us + later > latest:
        return 0, latest
    return later * limit.refill - missing, at_us + later
