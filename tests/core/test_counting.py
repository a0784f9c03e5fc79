"""What a request takes from limits of every kind; buckets alone are in test_bucket."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucket import (
    MAX_EXACT,
    MAX_FAILURES,
    MICROSECONDS,
    Grant,
    RateLimit,
    State,
)
from proxy.core.counting import forgotten_at, raised, settle, take

SECOND = MICROSECONDS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
FIVE = RateLimit.of(5, MINUTE)
TODAY = RateLimit.window(3, 24 * HOUR, until_us=HOUR)
TWO_AT_A_TIME = RateLimit.holds(2)
GUESSES = RateLimit.backoff(3, wait_us=MINUTE, most_us=10 * MINUTE, forget_us=HOUR)


def one(
    limit: RateLimit, state: State | None, now_us: int, cost: int = 1, extra: int = 0
) -> tuple[State | None, Grant]:
    """Return the state after one take of one limit, and its grant."""
    states, [grant] = take([(limit, state, cost, extra)], now_us)
    return (state if states is None else states[0]), grant


# Windows.


def test_a_window_is_used_up_until_its_end() -> None:
    """It has no flow: what is taken is gone, and the wait is until the end."""
    state, grants = None, []
    for now in (0, MINUTE, 2 * MINUTE, HOUR - 1):
        state, grant = one(TODAY, state, now)
        grants.append(grant)

    assert grants[0] == Grant(True, 2, 0.0, 3600.0)
    assert grants[2] == Grant(True, 0, 0.0, 3480.0)
    assert grants[3] == Grant(False, 0, 0.000001, 0.000001)


def test_an_untouched_window_has_nothing_to_wait_for() -> None:
    """Nor has one that a clock takes for over."""
    assert one(TODAY, None, 0, 0)[1] == Grant(True, 3, 0.0, 0.0)
    assert one(TODAY, (0, 0), 2 * HOUR, 1)[1] == Grant(False, 0, 0.0, 0.0)


def test_more_than_a_window_holds_is_never_had() -> None:
    """No wait would help."""
    assert one(TODAY, None, 0, 4)[1].retry_after == math.inf


@pytest.mark.parametrize(
    ("state", "tokens", "left"),
    [(None, 1, 2), ((1, 0), 5, 0), ((1, 0), -1, 2), ((1, 0), -9, 3), (None, -1, 3)],
)
def test_a_window_owes_nothing(state: State | None, tokens: int, left: int) -> None:
    """What is charged to an empty one is lost, and no more comes back than it had."""
    assert settle(TODAY, state, 7, tokens) == (left, 7)


# Holds.


def test_holds_are_how_many_there_may_be() -> None:
    """Whoever asks for one more than that asks again in a second."""
    assert one(TWO_AT_A_TIME, None, 0) == ((1, 0), Grant(True, 1, 0.0, 0.0))
    assert one(TWO_AT_A_TIME, (1, 0), 0) == ((2, 0), Grant(True, 0, 0.0, 0.0))
    assert one(TWO_AT_A_TIME, (2, 0), 0) == ((2, 0), Grant(False, 0, 1.0, 0.0))
    assert one(TWO_AT_A_TIME, (2, 0), 0, 0)[1] == Grant(True, 0, 0.0, 0.0)


# Back-off.


def tries(times: list[int]) -> list[tuple[bool, int, float]]:
    """Return what becomes of tries at these instants, all of which fail."""
    state: State | None = None
    answers = []
    for now in times:
        state, grant = one(GUESSES, state, now)
        answers.append((grant.allowed, grant.remaining, grant.retry_after))
    return answers


def test_each_failure_waits_twice_as_long() -> None:
    """Three are free, then a minute, two, four, eight, and no more than ten."""
    waits = [1, 2, 4, 8, 10, 10]
    times, now = [0, 0, 0], 0
    for wait in waits:
        times += [now + wait * MINUTE - 1, now + wait * MINUTE]
        now += wait * MINUTE

    answers = tries(times)

    assert [allowed for allowed, _, _ in answers] == [True] * 3 + [False, True] * 6
    assert [left for _, left, _ in answers[:4]] == [2, 1, 0, 0]
    assert tries([0, 0, 0, 0])[3] == (False, 0, 60.0)


def test_failures_are_forgotten_in_time() -> None:
    """So long without one, and the next three are free again."""
    assert tries([0, 0, 0, HOUR - 1, 2 * HOUR - 1])[3:] == [
        (True, 0, 0.0),
        (True, 2, 0.0),
    ]


def test_many_tries_at_once_are_as_many_failures() -> None:
    """A try counts until it is given back."""
    state, grant = one(GUESSES, (3, 0), 0)
    assert not grant.allowed

    state = settle(GUESSES, state, 5, -1)

    assert state == (2, 0)
    assert one(GUESSES, state, 5)[1].allowed


def test_looking_at_a_backoff_says_how_long_it_lasts() -> None:
    """And is no try."""
    assert one(GUESSES, (4, 0), 0, 0) == ((4, 0), Grant(True, 0, 0.0, 120.0))


def test_a_failure_from_too_far_ahead_is_not_believed() -> None:
    """A clock was wrong when it was written; a little ahead counts as now."""
    assert one(GUESSES, (9, 11 * MINUTE), 0)[1].allowed
    assert one(GUESSES, (9, 10 * MINUTE), 0)[1] == Grant(False, 0, 1200.0, 1200.0)


@pytest.mark.parametrize(
    ("state", "tokens", "expected"),
    [
        (None, 1, (1, 7)),
        ((2, 0), 2, (4, 7)),
        ((1, 0), -3, (0, 0)),
        ((5, 0), -MAX_FAILURES, (0, 7)),
        ((5, 0), 2 * MAX_FAILURES, (MAX_FAILURES, 7)),
    ],
)
def test_failures_are_noted_and_taken_back(
    state: State | None, tokens: int, expected: State
) -> None:
    """And forgotten together when somebody succeeds."""
    assert settle(GUESSES, state, 7, tokens) == expected


def test_no_number_of_failures_is_too_large() -> None:
    """The wait stays the longest there is."""
    state, grant = one(GUESSES, (MAX_FAILURES, 0), 10 * MINUTE)

    assert grant.allowed
    assert state == (MAX_FAILURES, 10 * MINUTE)


# All together.


def test_every_kind_gives_or_none_does() -> None:
    """Whichever of them has not enough."""
    for empty in range(4):
        states = [(0, 0), (0, 0), (2, 0), (3, 0)]
        full: list[State | None] = [None] * 4
        full[empty] = states[empty]
        limits = (FIVE, TODAY, TWO_AT_A_TIME, GUESSES)

        after, grants = take(
            [(limit, state, 1, 0) for limit, state in zip(limits, full, strict=True)], 0
        )

        assert after is None
        assert [grant.allowed for grant in grants] == [n != empty for n in range(4)]


def test_what_is_only_looked_at_stays() -> None:
    """Beside what is taken, whatever its kind."""
    limits = (FIVE, TODAY, TWO_AT_A_TIME, GUESSES)
    states: list[State] = [(0, 0), (1, 0), (2, 0), (1, 0)]
    asked = [(limit, state, 0, 0) for limit, state in zip(limits, states, strict=True)]

    after, _ = take([(FIVE, None, 1, 0), *asked], 0)

    assert after is not None
    assert after[1:] == states


# What is lent.


@pytest.mark.parametrize("limit", [FIVE, TODAY], ids=["bucket", "window"])
def test_what_is_lent_is_there_at_once(limit: RateLimit) -> None:
    """Beyond the burst, on top of what is left, and once more if lent again."""
    state, _ = one(limit, None, 0, limit.burst)

    state, extra = raised(limit, state, 0, 0, 4)
    assert (extra, state) == (4 * limit.token, (4 * limit.token, 0))
    assert one(limit, state, 0, 0, extra)[1].remaining == 4
    _, extra = raised(limit, state, 0, extra, 2)
    assert extra == 6 * limit.token


def test_what_is_lent_refills() -> None:
    """Until it is over: then the bucket holds what it always did."""
    state, extra = raised(FIVE, None, 0, 0, 5)
    assert state == (FIVE.capacity + extra, 0)
    empty, grant = one(FIVE, state, 0, 10, extra)
    assert grant.remaining == 0

    assert one(FIVE, empty, 2 * MINUTE, 0, extra)[1].remaining == 10
    assert one(FIVE, empty, 2 * MINUTE, 0)[1].remaining == 5
    assert one(FIVE, (FIVE.capacity + extra, 0), 0, 0)[1] == Grant(True, 5, 0.0, 0.0)
    assert one(TODAY, (7, 0), 0, 0)[1].remaining == 3


def test_a_loan_does_not_change_what_is_charged() -> None:
    """Settling knows of what is lent."""
    extra = 5 * FIVE.token

    assert settle(FIVE, None, 0, 1, extra) == (9 * FIVE.token, 0)
    assert settle(FIVE, None, 0, -5, extra) == (10 * FIVE.token, 0)
    assert settle(TODAY, None, 0, 1, 5) == (7, 0)
    assert settle(TODAY, (0, 0), 0, -3, 5) == (8, 0)


@given(more=st.integers(1, 2**60), extra=st.integers(0, 10**12))
def test_a_loan_stays_within_what_a_double_holds(more: int, extra: int) -> None:
    """However generous somebody is."""
    (level, _), after = raised(FIVE, None, 0, extra, more)

    assert level == FIVE.capacity + after
    assert FIVE.capacity + after + FIVE.refill < MAX_EXACT


@pytest.mark.parametrize(
    ("limit", "state", "extra", "expected"),
    [
        (FIVE, (0, 7), 0, 7 + MINUTE),
        (FIVE, (0, 7), FIVE.capacity, 7 + 2 * MINUTE),
        (TODAY, (0, 7), 0, HOUR),
        (GUESSES, (1, 7), 0, 7 + HOUR),
    ],
)
def test_when_a_state_is_as_good_as_none(
    limit: RateLimit, state: State, extra: int, expected: int
) -> None:
    """Full, over or forgotten."""
    assert forgotten_at(limit, state, extra) == expected
