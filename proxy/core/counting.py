"""What one request takes from all its limits, of whatever kind they are.

The specification that ``take.lua`` transcribes, together with ``bucket``. Rules of this
file, beside those of ``bucket``:

1. All limits of a request give what they shall, or none does. A cost below 0 is taken
   if it is there, and refuses nobody if it is not: that is a limit in shadow mode.
2. A window has what was not taken of it; at its end the key is another one, so nothing
   here compares dates. What is charged to an empty one is not owed.
3. A hold is taken once for each id and ends when it is given back, or by itself when
   nobody renews it: whoever died holds nothing for long.
4. A back-off counts a try as a failure until it is given back, so that many tries at
   once are as many failures. The try after the last free failure waits; the wait
   doubles with each failure, and so long without one forgets them all.

A state is a pair of integers: (level, instant) of a bucket or window, (failures,
instant of the last) of a back-off, and of holds (how many there are, 0).
"""

from collections.abc import Sequence

from proxy.core import bucket
from proxy.core.bucket import (
    BUCKET,
    HOLDS,
    MAX_FAILURES,
    MICROSECONDS,
    WINDOW,
    Grant,
    RateLimit,
    State,
    grant_of,
    level_at,
    us_until_full,
)

Asked = tuple[RateLimit, State | None, int, int]
"""A limit; its state, None for one never touched; what to take, 0 to look only; and
units that it holds beyond its capacity for a while."""

_NOBODY_KNOWS: float = 1.0
"""Seconds after which to ask again for a hold: somebody may have let go."""


def take(asked: Sequence[Asked], now_us: int) -> tuple[list[State] | None, list[Grant]]:
    """Take from every limit what it shall cost, or from none.

    Args:
        asked: the limits, and what to take from each; below 0, what to take if it is
            there.
        now_us: the instant, in epoch microseconds where there are windows.

    Returns:
        The new states in the same order, None when nothing was taken, and the grants.
        A limit that had the tokens while another had not says ``allowed`` and its
        untouched remaining.

    Example:
        >>> limit = RateLimit.of(2, 60 * MICROSECONDS)
        >>> states, [grant] = take([(limit, None, 1, 0)], now_us=0)
        >>> grant.allowed, grant.remaining, grant.reset_after
        (True, 1, 30.0)
    """
    current: list[tuple[int, int, int, bool]] = []
    everywhere, something = True, False
    for limit, state, cost, extra in asked:
        soft = cost < 0
        if soft:
            cost = -cost
        if limit.kind == BUCKET:
            level, at_us = level_at(limit, state, now_us, extra)
            enough = level >= cost * limit.token
            ahead_us = at_us - now_us if at_us > now_us else 0
        else:
            level, at_us, enough, ahead_us = _other(limit, state, now_us, cost, extra)
        everywhere = everywhere and (enough or soft)
        something = something or cost > 0
        current.append((level, at_us, ahead_us, enough))
    taken = everywhere and something
    states: list[State] = []
    grants: list[Grant] = []
    for (limit, _, cost, _), (level, at_us, ahead_us, enough) in zip(
        asked, current, strict=True
    ):
        cost = abs(cost)
        if limit.kind == BUCKET:
            if taken and enough:
                level -= cost * limit.token
            grant = grant_of(limit, level, cost, allowed=enough, ahead_us=ahead_us)
        else:
            if taken and cost and enough:
                level, at_us = _spent(limit, level, at_us, cost, now_us)
            left = remaining_of(limit, level)
            grant = other_grant_of(limit, left, cost, allowed=enough, ahead_us=ahead_us)
        states.append((level, at_us))
        grants.append(grant)
    return (states if taken else None), grants


def _other(
    limit: RateLimit, state: State | None, now_us: int, cost: int, extra: int
) -> tuple[int, int, bool, int]:
    """Return what a state is now, whether it is enough, and how long it is not."""
    if limit.kind == WINDOW:
        level = limit.capacity + extra
        if state is not None:
            level = min(level, state[0])
        return level, now_us, level >= cost, max(limit.until_us - now_us, 0)
    if limit.kind == HOLDS:
        holds = 0 if state is None else state[0]
        return holds, 0, holds + cost <= limit.capacity, 0
    failures, at_us = _failures_at(limit, state, now_us)
    ahead_us = max(at_us + _wait_after(limit, failures) - now_us, 0)
    return failures, at_us, not ahead_us or not cost, ahead_us


def _failures_at(limit: RateLimit, state: State | None, now_us: int) -> State:
    if state is None:
        return 0, now_us
    failures, at_us = state
    elapsed = now_us - at_us
    # As with a bucket: an instant from too far ahead is that of a clock gone wrong.
    if elapsed >= limit.period_us or -elapsed > limit.most_us:
        return 0, now_us
    return failures, at_us


def _wait_after(limit: RateLimit, failures: int) -> int:
    """Return the microseconds between the last of ``failures`` and the next try."""
    more = failures - limit.count
    if more < 0:
        return 0
    # Doubling so often passes every wait there may be.
    return min(limit.wait_us << min(more, 50), limit.most_us)


def _spent(limit: RateLimit, level: int, at_us: int, cost: int, now_us: int) -> State:
    if limit.kind == WINDOW:
        return level - cost, at_us
    if limit.kind == HOLDS:
        return level + cost, 0
    return min(level + cost, MAX_FAILURES), now_us


def remaining_of(limit: RateLimit, level: int) -> int:
    """Return what is left, of a state's first number and not of a bucket."""
    if limit.kind == WINDOW:
        return level
    return max(0, limit.count - level)


def other_grant_of(
    limit: RateLimit, left: int, cost: int, *, allowed: bool, ahead_us: int
) -> Grant:
    """Say what is left of a limit that is no bucket; as ``bucket.grant_of``."""
    ahead = ahead_us / MICROSECONDS
    if limit.kind == HOLDS:
        return Grant(allowed, left, 0.0 if allowed else _NOBODY_KNOWS, 0.0)
    if limit.kind == WINDOW:
        wait = ahead if cost <= limit.burst else bucket.NEVER
        reset = ahead if left < limit.capacity else 0.0
        return Grant(allowed, left, 0.0 if allowed else wait, reset)
    return Grant(allowed, left, 0.0 if allowed else ahead, ahead)


def settle(
    limit: RateLimit, state: State | None, now_us: int, tokens: int, extra: int = 0
) -> State:
    """Charge or give back, whatever there is; return the new state.

    Args:
        limit: of any kind but HOLDS, which a store counts by their ids.
        state: its state; None for one never touched.
        now_us: the instant, in microseconds.
        tokens: to charge, or failures to note; below 0 to give back. A burst or more
            given back is as if nothing had ever been taken.
        extra: units that it holds beyond its capacity for a while.
    """
    if limit.kind == BUCKET:
        return bucket.settle(limit, state, now_us, tokens, extra)
    if limit.kind == WINDOW:
        most = limit.capacity + extra
        level = most if state is None else min(most, state[0])
        if tokens <= -limit.burst:
            return most, now_us
        return max(0, min(level - tokens, most)), now_us
    if tokens <= -limit.burst:
        return 0, now_us
    failures, at_us = _failures_at(limit, state, now_us)
    if tokens > 0:
        at_us = now_us
    return max(0, min(failures + tokens, MAX_FAILURES)), at_us


def forgotten_at(limit: RateLimit, state: State, extra: int = 0) -> int:
    """Return the instant from which a state is as good as none, in microseconds.

    Args:
        limit: of any kind but HOLDS.
        state: its state.
        extra: units that it holds beyond its capacity for a while.
    """
    level, at_us = state
    if limit.kind == BUCKET:
        return at_us + us_until_full(limit, level, extra)
    if limit.kind == WINDOW:
        return limit.until_us
    return at_us + limit.period_us


def raised(
    limit: RateLimit,
    state: State | None,
    now_us: int,
    extra: int,
    more: int,
) -> tuple[State, int]:
    """Let a bucket or window hold more for a while, and fill in what is more.

    Args:
        limit: of kind BUCKET or WINDOW.
        state: its state; None for one never touched.
        now_us: the instant, in microseconds.
        extra: units that it holds beyond its capacity already.
        more: tokens.

    Returns:
        The new state, and the units beyond its capacity.
    """
    most = bucket.MAX_EXACT - 1 - limit.refill - limit.capacity
    units = min(more * limit.token, most - extra)
    if limit.kind == BUCKET:
        level, at_us = level_at(limit, state, now_us, extra)
    else:
        level, at_us, _, _ = _other(limit, state, now_us, 0, extra)
    return (level + units, at_us), extra + units
