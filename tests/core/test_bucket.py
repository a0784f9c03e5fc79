"""The bucket's arithmetic: timelines, boundaries and what may never happen."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.core.bucket import (
    MAX_EXACT,
    MICROSECONDS,
    Grant,
    RateLimit,
    State,
    level_at,
    settle,
    us_until_full,
)
from proxy.core.counting import take

SECOND = MICROSECONDS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

TIMELINES = {
    "the burst, then one every twelve seconds": (
        RateLimit.of(5, MINUTE),
        [
            (0, 1, True, 4),
            (0, 1, True, 3),
            (0, 1, True, 2),
            (0, 1, True, 1),
            (0, 1, True, 0),
            (0, 1, False, 0),
            (12 * SECOND - 1, 1, False, 0),
            (12 * SECOND, 1, True, 0),
            (24 * SECOND, 1, True, 0),
        ],
    ),
    "a long rest fills it and no more": (
        RateLimit.of(2, MINUTE),
        [
            (0, 2, True, 0),
            (365 * 24 * HOUR, 0, True, 2),
            (365 * 24 * HOUR, 2, True, 0),
            (365 * 24 * HOUR, 1, False, 0),
        ],
    ),
    "a burst smaller than the rate's count": (
        RateLimit.of(60, MINUTE, burst=2),
        [(0, 1, True, 1), (0, 1, True, 0), (0, 1, False, 0), (SECOND, 1, True, 0)],
    ),
    "a burst larger than the rate's count": (
        RateLimit.of(1, SECOND, burst=3),
        [(0, 3, True, 0), (SECOND, 1, True, 0), (3 * SECOND, 3, False, 2)],
    ),
    "a cost takes several or nothing": (
        RateLimit.of(5, MINUTE),
        [(0, 3, True, 2), (0, 3, False, 2), (0, 2, True, 0)],
    ),
    "a cost above the burst is never met": (
        RateLimit.of(5, MINUTE),
        [(0, 6, False, 5), (HOUR, 6, False, 5)],
    ),
    "looking takes nothing": (
        RateLimit.of(5, MINUTE),
        [(0, 0, True, 5), (0, 5, True, 0), (0, 0, True, 0), (0, 1, False, 0)],
    ),
    "a clock that goes back is a clock that stands": (
        RateLimit.of(5, MINUTE),
        [
            (MINUTE, 5, True, 0),
            (0, 1, False, 0),
            (30 * SECOND, 1, False, 0),
            (MINUTE + 12 * SECOND, 1, True, 0),
        ],
    ),
    "a state from further ahead than a whole fill is not believed": (
        RateLimit.of(5, MINUTE),
        [(HOUR, 5, True, 0), (HOUR - MINUTE, 1, False, 0), (0, 1, True, 4)],
    ),
}


@pytest.mark.parametrize(
    ("limit", "timeline"), TIMELINES.values(), ids=TIMELINES.keys()
)
def test_timeline(limit: RateLimit, timeline: list[tuple[int, int, bool, int]]) -> None:
    """Takes at these instants are answered like this."""
    state: State | None = None
    for now_us, cost, allowed, remaining in timeline:
        states, [grant] = take([(limit, state, cost, 0)], now_us)
        if states is not None:
            [state] = states

        assert (now_us, allowed, remaining) == (
            now_us,
            grant.allowed,
            grant.remaining,
        )


def test_a_refusal_says_when_it_would_be_allowed() -> None:
    """To the microsecond: then, and not one earlier."""
    limit = RateLimit.of(7, MINUTE)
    states, _ = take([(limit, None, 7, 0)], 0)
    assert states is not None
    _, [refused] = take([(limit, states[0], 3, 0)], 0)
    when = round(refused.retry_after * MICROSECONDS)

    assert not take([(limit, states[0], 3, 0)], when - 1)[1][0].allowed
    assert take([(limit, states[0], 3, 0)], when)[1][0].allowed


def test_a_cost_above_the_burst_never_has_a_time() -> None:
    """No wait would help, so none is promised."""
    _, [grant] = take([(RateLimit.of(5, MINUTE), None, 6, 0)], 0)

    assert Grant(False, 5, math.inf, 0.0) == grant


def test_all_buckets_give_or_none_does() -> None:
    """One empty bucket keeps the others as they were, and says it was that one."""
    small, large = RateLimit.of(1, MINUTE), RateLimit.of(5, MINUTE)
    states, _ = take([(small, None, 1, 0), (large, None, 1, 0)], 0)
    assert states == [(0, 0), (large.capacity - large.token, 0)]

    after, grants = take([(small, states[0], 1, 0), (large, states[1], 1, 0)], 0)

    assert after is None
    assert [grant.allowed for grant in grants] == [False, True]
    assert [grant.remaining for grant in grants] == [0, 4]


def test_no_bucket_is_no_limit() -> None:
    """A request without limits takes nothing."""
    assert take([], 0) == (None, [])


@pytest.mark.parametrize(
    ("count", "period_us", "burst"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-5, 1, None)]
)
def test_numbers_below_one_are_refused(
    count: int, period_us: int, burst: int | None
) -> None:
    """A rate, a period or a burst of nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        RateLimit.of(count, period_us, burst)


def test_what_doubles_cannot_hold_is_refused() -> None:
    """The largest exact limit is accepted, and one unit more is not."""
    assert RateLimit.of(1, MAX_EXACT - 2).capacity + 1 == MAX_EXACT - 1
    with pytest.raises(ValueError, match="smaller burst"):
        RateLimit.of(1, MAX_EXACT - 1)


def test_a_rate_is_kept_in_its_smallest_numbers() -> None:
    """A hundred an hour is one unit a microsecond and 36 million units a token."""
    limit = RateLimit.of(100, HOUR)

    assert (limit.refill, limit.token, limit.capacity) == (1, 36 * SECOND, HOUR)


@pytest.mark.parametrize(
    ("limit", "window"),
    [
        (RateLimit.of(100, HOUR), 3600),
        (RateLimit.of(100, HOUR, burst=20), 720),
        (RateLimit.of(10, SECOND, burst=100), 10),
        (RateLimit.of(7, MINUTE, burst=1), 9),
        (RateLimit.of(1000, SECOND, burst=1), 1),
    ],
)
def test_the_window_is_the_time_to_fill(limit: RateLimit, window: int) -> None:
    """In whole seconds, rounded up; without a burst of its own it is the period."""
    assert window == limit.window_seconds


@st.composite
def limits(draw: st.DrawFn) -> RateLimit:
    """Every kind of limit that a policy can hold."""
    count = draw(st.integers(1, 10**6))
    period = draw(st.integers(1, 10**12))
    most = (MAX_EXACT - 1 - count) // period
    return RateLimit.of(count, period, draw(st.integers(1, max(1, min(most, 10**6)))))


@given(
    limit=limits(),
    steps=st.lists(
        st.tuples(st.integers(-(10**6), 10**8), st.integers(0, 3)), max_size=60
    ),
)
def test_no_window_gives_more_than_burst_and_rate(
    limit: RateLimit, steps: list[tuple[int, int]]
) -> None:
    """From any instant to any later one: at most burst + rate * time."""
    latest, now = 0, 0
    state: State | None = None
    given_at: list[tuple[int, int]] = []
    for advance, cost in steps:
        now = max(latest - us_until_full(limit, 0), now + advance)
        # Before the first take there is no clock that could have gone back.
        latest = max(latest, now) if state else now
        states, [grant] = take([(limit, state, cost, 0)], now)
        if states is not None:
            [state] = states
            given_at.append((latest, cost))
        assert 0 <= grant.remaining <= limit.burst

    for first, (start, _) in enumerate(given_at):
        total = 0
        for end, cost in given_at[first:]:
            total += cost
            assert total * limit.token <= limit.capacity + limit.refill * (end - start)


@given(limit=limits(), data=st.data())
def test_no_number_passes_what_a_double_holds(
    limit: RateLimit, data: st.DataObject
) -> None:
    """And dividing in doubles, as Lua does, rounds up to the same whole number."""
    level = data.draw(st.integers(0, limit.capacity))
    until_full = us_until_full(limit, level)
    elapsed = data.draw(st.integers(0, max(0, until_full - 1)))

    later, _ = level_at(limit, (level, 0), elapsed)

    assert level <= later <= limit.capacity < MAX_EXACT
    assert elapsed * limit.refill < MAX_EXACT
    assert until_full == math.ceil((limit.capacity - level) / limit.refill)


@given(limit=limits(), costs=st.permutations([0, 1, 1, 2, 3]))
def test_what_is_left_does_not_depend_on_the_order_of_equal_instants(
    limit: RateLimit, costs: list[int]
) -> None:
    """Takes that all fit leave the same, whichever came first."""
    roomy = RateLimit.of(limit.count, limit.period_us, burst=7)
    state: State | None = None
    for cost in costs:
        states, [grant] = take([(roomy, state, cost, 0)], 0)
        assert grant.allowed
        if states is not None:
            [state] = states

    assert state == (0, 0)


@pytest.mark.parametrize(
    ("state", "now_us", "tokens", "expected"),
    [
        (None, 5, 2, (3 * 12 * SECOND, 5)),
        ((0, 0), 0, 1, (0, 12 * SECOND)),
        ((12 * SECOND, 0), 0, 1, (0, 0)),
        ((0, 0), 12 * SECOND, 2, (0, 24 * SECOND)),
        ((0, 0), 0, 100, (0, MINUTE)),
        ((0, MINUTE), 0, 1, (0, MINUTE)),
        ((0, 24 * SECOND), 0, -1, (0, 12 * SECOND)),
        ((0, 12 * SECOND), 0, -2, (12 * SECOND, 0)),
        ((0, 0), 0, -2, (24 * SECOND, 0)),
        ((4 * 12 * SECOND, 0), 0, -2, (MINUTE, 0)),
        ((0, MINUTE), 7, -5, (MINUTE, 7)),
        ((0, 0), 0, 0, (0, 0)),
    ],
    ids=[
        "of a full one",
        "owed",
        "exactly what is there",
        "partly there",
        "a burst at the most",
        "no more than a burst in all",
        "given back of what is owed",
        "more than is owed",
        "given back",
        "given back to a full one",
        "a burst given back",
        "nothing",
    ],
)
def test_settling(
    state: State | None, now_us: int, tokens: int, expected: State
) -> None:
    """Charges and gives back, whatever is there."""
    assert settle(RateLimit.of(5, MINUTE), state, now_us, tokens) == expected


def test_what_is_owed_is_never_rounded() -> None:
    """Units that do not fill a microsecond are kept."""
    limit = RateLimit.of(7, MINUTE)  # 7 units a microsecond, a token is MINUTE of them

    level, at_us = settle(limit, (0, 0), 0, 1)

    assert at_us * limit.refill - level == limit.token


def test_an_instant_stays_within_what_a_double_holds() -> None:
    """Even one of a bucket that takes centuries to fill."""
    limit = RateLimit.of(1, MAX_EXACT - 2)

    assert settle(limit, (0, MAX_EXACT // 2), MAX_EXACT // 2, 1) == (0, MAX_EXACT - 1)


@given(limit=limits(), level=st.integers(0, 2**53), tokens=st.integers(0, 10**6))
def test_what_was_charged_can_be_given_back(
    limit: RateLimit, level: int, tokens: int
) -> None:
    """The bucket has as much as before, whether or not it had the tokens."""
    assume(limit.refill <= limit.token)  # else a microsecond overfills it
    level = min(level, limit.capacity)
    tokens = min(tokens, limit.burst - 1)

    owing = settle(limit, (level, 0), 0, tokens)
    back, at_us = settle(limit, owing, 0, -tokens)

    assert back - at_us * limit.refill == level
