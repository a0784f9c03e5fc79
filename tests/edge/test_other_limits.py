"""Windows, holds, back-offs and loans, in every store; and Lua against Python.

What is common to all limits is in test_bucket_store.
"""

import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.bucket import HOLD_US, MAX_FAILURES, Grant, RateLimit
from proxy.core.limit import Limit, Per
from proxy.core.limits import Quota, Take
from proxy.edge.bucket_store import BucketStore, MemoryStore
from tests.edge.test_bucket_store import (
    MINUTE,
    SECOND,
    START,
    Clock,
    shared_store,
    url_of,
)
from tests.redis_server import RedisServer

HOUR = 60 * MINUTE
FIVE = RateLimit.of(5, MINUTE)
TODAY = RateLimit.window(3, 24 * HOUR, until_us=START + HOUR)
TWO_AT_A_TIME = RateLimit.holds(2)
GUESSES = RateLimit.backoff(2, wait_us=MINUTE, most_us=HOUR, forget_us=6 * HOUR)


def asked(name: str, limit: RateLimit, hold: str = "") -> Take:
    """Return a take of one from somebody's limit."""
    named = Limit(id="test", per=Per.SUBJECT, rates={None: limit})
    return Take(f"lb:{{s:{name}}}:test", limit, Quota(named, None, limit), 1, hold)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands."""
    return Clock()


@pytest.fixture(params=["memory", "redis", "cluster"])
async def store(
    request: pytest.FixtureRequest, clock: Clock
) -> AsyncIterator[BucketStore]:
    """Give each store in turn."""
    if request.param == "memory":
        yield MemoryStore(clock)
    else:
        async with shared_store(url_of(request.param, request), clock) as opened:
            yield opened


async def test_a_window_is_full_again_under_another_key(
    store: BucketStore, clock: Clock
) -> None:
    """Until its end it stays as empty as it is."""
    day = asked("a", TODAY)
    assert await store.take([day.costing(3)]) == [Grant(True, 0, 0.0, 3600.0)]
    clock.now += HOUR - 1

    assert await store.take([day]) == [Grant(False, 0, 0.000001, 0.000001)]
    assert (await store.take([asked("a-tomorrow", TODAY)]))[0].allowed


async def test_a_hold_lasts_until_it_is_let_go(store: BucketStore) -> None:
    """Letting go twice, or of what was never held, changes nothing."""
    first, second, third = (asked("a", TWO_AT_A_TIME, hold) for hold in "abc")
    assert (await store.take([first]))[0].remaining == 1
    assert (await store.take([second]))[0].remaining == 0
    assert not (await store.take([third]))[0].allowed

    store.settle([third.costing(-1), first.costing(-1), first.costing(-1)])

    assert (await store.take([third]))[0] == Grant(True, 0, 0.0, 0.0)
    store.settle([second.costing(-1), third.costing(-1), third.costing(-1)])
    assert (await store.take([first.costing(0)]))[0].remaining == 2


async def test_a_hold_that_nobody_renews_lapses(
    store: BucketStore, clock: Clock
) -> None:
    """The process that had it is dead; one that lives renews what it holds."""
    dead, alive = asked("a", TWO_AT_A_TIME, "dead"), asked("a", TWO_AT_A_TIME, "alive")
    await store.take([dead])
    await store.take([alive])
    clock.now += HOLD_US - 1
    store.settle([alive])
    assert not (await store.take([asked("a", TWO_AT_A_TIME, "new")]))[0].allowed
    clock.now += 1

    assert (await store.take([asked("a", TWO_AT_A_TIME, "new")]))[0].remaining == 0


async def test_holds_that_were_forgotten_can_be_renewed(store: BucketStore) -> None:
    """And all of somebody's can be let go at once."""
    store.settle([asked("a", TWO_AT_A_TIME, "x"), asked("a", TWO_AT_A_TIME, "y")])
    assert not (await store.take([asked("a", TWO_AT_A_TIME, "z")]))[0].allowed

    store.settle([asked("a", TWO_AT_A_TIME).costing(-2)])

    assert (await store.take([asked("a", TWO_AT_A_TIME).costing(0)]))[0].remaining == 2


async def test_failures_wait_longer_and_longer(
    store: BucketStore, clock: Clock
) -> None:
    """Until somebody succeeds."""
    one = asked("a", GUESSES)
    answers = [(await store.take([one]))[0].retry_after for _ in range(3)]
    clock.now += MINUTE
    answers += [(await store.take([one]))[0].retry_after for _ in range(2)]

    assert answers == [0.0, 0.0, 60.0, 0.0, 120.0]
    store.settle([one.costing(-1)])
    assert (await store.take([one]))[0].retry_after == 60.0
    store.settle([one.costing(-MAX_FAILURES)])
    assert (await store.take([one]))[0] == Grant(True, 1, 0.0, 0.0)


async def test_limits_of_every_kind_give_or_none_does(store: BucketStore) -> None:
    """One that is used up keeps the others as they were."""
    kinds = [
        asked("bucket", FIVE),
        asked("window", TODAY),
        asked("holds", TWO_AT_A_TIME, "a"),
        asked("backoff", GUESSES),
    ]
    await store.take([kinds[1].costing(3)])

    grants = await store.take(kinds)

    assert [grant.allowed for grant in grants] == [True, False, True, True]
    looks = await store.take([one.costing(0) for one in kinds])
    assert [grant.remaining for grant in looks] == [5, 0, 2, 2]


@pytest.mark.parametrize("limit", [FIVE, TODAY], ids=["bucket", "window"])
async def test_what_is_lent_is_there_until_its_end(
    store: BucketStore, clock: Clock, limit: RateLimit
) -> None:
    """On top of what is left, for whoever asks next."""
    one = asked("a", limit)
    await store.take([one.costing(limit.burst)])

    store.lend(one.costing(7), START + MINUTE // 10)

    [grant] = await store.take([one])
    assert (grant.allowed, grant.remaining) == (True, 6)
    store.lend(one.costing(2), START + MINUTE // 10)
    assert (await store.take([one.costing(0)]))[0].remaining == 8
    clock.now = START + MINUTE // 10
    assert (await store.take([one.costing(0)]))[0].remaining == limit.burst


async def test_what_is_lent_to_one_is_nobody_elses(
    store: BucketStore, clock: Clock
) -> None:
    """And is forgotten when it is over."""
    store.lend(asked("a", FIVE).costing(7), START + SECOND)

    assert (await store.take([asked("b", FIVE).costing(0)]))[0].remaining == 5
    clock.now += SECOND
    store.lend(asked("b", FIVE).costing(1), START + HOUR)
    assert (await store.take([asked("a", FIVE).costing(0)]))[0].remaining == 5
    assert (await store.take([asked("b", FIVE).costing(0)]))[0].remaining == 6


async def test_loans_that_are_over_do_not_fill_the_memory(clock: Clock) -> None:
    """Many are looked through when there is another one."""
    store = MemoryStore(clock)
    for number in range(400):
        store.lend(asked(str(number), FIVE), clock.now + SECOND)
    clock.now += SECOND
    store.lend(asked("last", FIVE), clock.now + SECOND)

    assert list(store._lent) == [asked("last", FIVE).key]


async def test_what_refuses_nobody_is_taken_if_it_is_there(store: BucketStore) -> None:
    """A limit in shadow mode: it counts like any other, and stops nothing."""
    kinds = [
        asked("bucket", FIVE),
        asked("window", TODAY),
        asked("holds", TWO_AT_A_TIME, "a"),
        asked("backoff", GUESSES),
    ]
    shadows = [one.costing(-1) for one in kinds]
    enforced = asked("enforced", FIVE)
    await store.take([kinds[1].costing(3)])

    grants = await store.take([enforced, *shadows])

    assert [grant.allowed for grant in grants] == [True, True, False, True, True]
    looks = await store.take([one.costing(0) for one in (enforced, *kinds)])
    assert [grant.remaining for grant in looks] == [4, 4, 0, 1, 1]
    assert (store.taken, store.refused) == (2, 0)

    shadows[2] = asked("holds", TWO_AT_A_TIME, "b").costing(-1)
    refused = await store.take([enforced.costing(5), *shadows])
    assert not refused[0].allowed
    again = await store.take([one.costing(0) for one in (enforced, *kinds)])
    assert [grant.remaining for grant in again] == [4, 4, 0, 1, 1]


# Lua against Python.

_examples = itertools.count()

counts = st.integers(1, 4)
limits = st.one_of(
    st.builds(RateLimit.of, counts, st.integers(20 * SECOND, HOUR), counts),
    st.builds(
        RateLimit.window, counts, st.just(24 * HOUR), st.just(START + 1000 * HOUR)
    ),
    st.builds(RateLimit.holds, counts),
    st.builds(
        RateLimit.backoff,
        counts,
        st.integers(1, MINUTE),
        st.integers(MINUTE, HOUR),
        st.integers(HOUR, 9 * HOUR),
    ),
)
moves = st.one_of(
    st.sampled_from([0, 1, -1, HOLD_US, HOLD_US - 1, MINUTE, HOUR, -HOUR]),
    st.integers(-HOUR, 3 * HOUR),
)
"""How the clock moves."""

steps = st.tuples(
    st.sampled_from(["take", "take", "settle", "lend"]),
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(-3, 3) | st.just(2**40), st.integers(0, 3)
        ),
        min_size=1,
        max_size=4,
    ),
)
"""What is asked; of which limits, at which cost, under which id if it is a hold."""


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kinds=st.lists(limits, min_size=4, max_size=4),
    ticks=st.lists(
        st.tuples(moves, st.lists(steps, min_size=1, max_size=5)), max_size=10
    ),
)
async def test_lua_and_python_agree_on_every_kind(
    redis: RedisServer,
    kinds: list[RateLimit],
    ticks: list[tuple[int, list[tuple[str, list[tuple[int, int, int]]]]]],
) -> None:
    """The same history gives the same grants, whatever the clock does."""
    clock, example = Clock(), next(_examples)
    memory = MemoryStore(clock)

    def named(which: int, cost: int, hold: int) -> Take:
        is_hold = kinds[which].token and not kinds[which].period_us
        name = f"other-{example}-{which}"
        one = asked(name, kinds[which], f"hold-{hold}" if is_hold else "")
        return one.costing(cost)

    async with shared_store(redis.url, clock) as shared:
        for advance, wanted in ticks:
            clock.now += advance
            answers, expected = [], []
            looks = [(which, 0, 0) for which in range(4)]
            for verb, parts in [*wanted, ("take", looks)]:
                takes = [named(*part) for part in parts]
                if verb == "settle":
                    shared.settle(takes)
                    memory.settle(takes)
                elif verb == "take":
                    answers.append(shared.take(takes))
                    expected.append(memory.take_now(takes))
                else:
                    loan = takes[0].costing(abs(takes[0].cost) + 1)
                    if loan.limit.kind <= 1:
                        until_us = clock.now + (advance or 1)
                        shared.lend(loan, until_us)
                        memory.lend(loan, until_us)

            assert [await answer for answer in answers] == expected


# Memory only.


async def test_lapsed_holds_do_not_fill_the_memory(clock: Clock) -> None:
    """New ones push out those whose process died, and only those."""
    store = MemoryStore(clock)
    for number in range(400):
        await store.take([asked(str(number), TWO_AT_A_TIME, "a")])
    clock.now += HOLD_US
    for number in range(400, 800):
        await store.take([asked(str(number), TWO_AT_A_TIME, "a")])

    assert len(store._holds) <= 401
    assert (await store.take([asked("799", TWO_AT_A_TIME).costing(0)]))[
        0
    ].remaining == 1


async def test_a_closed_memory_holds_and_lends_nothing(clock: Clock) -> None:
    """Everything is given back."""
    store = MemoryStore(clock)
    await store.take([asked("a", TWO_AT_A_TIME, "a")])
    store.lend(asked("b", FIVE), START + HOUR)
    await store.close()

    assert (store._holds, store._lent) == ({}, {})
