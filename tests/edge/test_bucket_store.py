"""One suite for every store of buckets, and Lua against Python on random histories.

Redis is a real one. Its clock is replaced by the test's, so that both stores see the
same instants; what only Redis has is in ``test_redis_store``.
"""

import asyncio
import dataclasses
import itertools
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.bucket import (
    MAX_EXACT,
    MICROSECONDS,
    Grant,
    RateLimit,
    us_until_full,
)
from proxy.core.limit import Limit, Per
from proxy.core.limits import Take, takes_for
from proxy.edge.bucket_store import BucketStore, MemoryStore
from proxy.edge.cluster_store import ClusterStore
from proxy.edge.redis_store import RedisStore, SharedStore

SECOND = MICROSECONDS
MINUTE = 60 * SECOND
START = 1_800_000_000 * SECOND


@dataclasses.dataclass
class Clock:
    """Microseconds that pass when the test says so."""

    now: int = START

    def __call__(self) -> int:
        """Return the instant."""
        return self.now


def bucket(name: str, rate: RateLimit, limit_id: str = "test") -> Take:
    """Return a bucket of somebody called ``name``."""
    limit = Limit(id=limit_id, per=Per.SUBJECT, rates={None: rate})
    [one] = takes_for((limit,), role="", subject=name, client="")
    return one


def costing(takes: list[Take], cost: int) -> list[Take]:
    """Return what takes so much from each of these buckets."""
    return [one.costing(cost) for one in takes]


@asynccontextmanager
async def shared_store(url: str, clock: Clock) -> AsyncIterator[SharedStore]:
    """Open a store that has all the time it needs, and must not need its fallback."""
    kind = ClusterStore if "cluster" in url else RedisStore
    store = kind(url, clock, clock=clock, timeout=30.0, connect_timeout=30.0)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
    assert (store.failures, sum(store.local.values())) == (0, 0)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands."""
    return Clock()


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """Return where an empty Redis or Cluster is."""
    url: str = request.getfixturevalue(kind).url
    return url


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


FIVE = RateLimit.of(5, MINUTE)


async def test_a_bucket_empties_and_fills(store: BucketStore, clock: Clock) -> None:
    """Five at once, then one every twelve seconds, then five again."""
    one = [bucket("a", FIVE)]
    timeline = [
        *((0, True, left) for left in (4, 3, 2, 1, 0)),
        (0, False, 0),
        (12 * SECOND - 1, False, 0),
        (12 * SECOND, True, 0),
        (72 * SECOND, True, 4),
    ]
    for after, allowed, remaining in timeline:
        clock.now = START + after
        [grant] = await store.take(one)

        assert (after, grant.allowed, grant.remaining) == (after, allowed, remaining)


async def test_a_refusal_says_when(store: BucketStore, clock: Clock) -> None:
    """To the microsecond, on both sides of the instant."""
    one = [bucket("a", RateLimit.of(7, MINUTE))]
    await store.take(costing(one, 7))
    [refused] = await store.take(costing(one, 3))
    when = START + round(refused.retry_after * SECOND)

    clock.now = when - 1
    assert not (await store.take(costing(one, 3)))[0].allowed
    clock.now = when
    assert (await store.take(costing(one, 3)))[0].allowed


async def test_all_buckets_give_or_none_does(store: BucketStore) -> None:
    """What one bucket refuses is taken from no other, wherever it stands."""
    small, large = bucket("a", RateLimit.of(1, MINUTE)), bucket("b", FIVE)
    await store.take([small])

    for takes in ([small, large], [large, small], [large, small, large]):
        grants = await store.take(takes)
        assert [grant.allowed for grant in grants] == [
            one is not small for one in takes
        ]

    assert [
        grant.remaining for grant in await store.take(costing([small, large], 0))
    ] == [0, 5]


async def test_looking_takes_nothing(store: BucketStore) -> None:
    """A cost of 0 answers what is there, an empty bucket too."""
    one = [bucket("a", FIVE)]
    assert await store.take(costing(one, 0)) == [Grant(True, 5, 0.0, 0.0)]
    await store.take(costing(one, 5))
    assert await store.take(costing(one, 0)) == [Grant(True, 0, 0.0, 60.0)]


async def test_a_cost_above_the_burst_is_refused_for_ever(store: BucketStore) -> None:
    """And takes nothing."""
    one = [bucket("a", FIVE)]

    assert await store.take(costing(one, 6)) == [Grant(False, 5, math.inf, 0.0)]
    assert await store.take(costing(one, 2**60)) == [Grant(False, 5, math.inf, 0.0)]


async def test_one_bucket_twice_in_a_request_counts_once(store: BucketStore) -> None:
    """Both see the bucket as it was before."""
    one = bucket("a", FIVE)

    grants = await store.take([one, one])

    assert [grant.remaining for grant in grants] == [4, 4]
    assert (await store.take(costing([one], 0)))[0].remaining == 4


async def test_a_clock_that_goes_back_gives_nothing(
    store: BucketStore, clock: Clock
) -> None:
    """Time that was counted once is not counted again."""
    one = [bucket("a", FIVE)]
    await store.take(costing(one, 5))
    for now in (START - 30 * SECOND, START, START + 12 * SECOND - 1):
        clock.now = now
        assert not (await store.take(one))[0].allowed
    clock.now = START + 12 * SECOND

    assert (await store.take(one))[0].allowed


async def test_a_clock_that_was_wrong_locks_nobody_out(
    store: BucketStore, clock: Clock
) -> None:
    """What was written years ahead is forgotten once the clock is right again."""
    one = [bucket("a", FIVE)]
    clock.now = START + 10**14
    await store.take(costing(one, 5))
    clock.now = START

    assert (await store.take(one))[0].remaining == 4


async def test_concurrent_takes_get_what_there_is_and_no_more(
    store: BucketStore,
) -> None:
    """Of two thousand at once, a bucket of a hundred serves a hundred."""
    one = [bucket("a", RateLimit.of(100, 3600 * SECOND))]

    answers = await asyncio.gather(*(store.take(one) for _ in range(2000)))

    assert sum(grant.allowed for [grant] in answers) == 100
    assert (store.taken, store.refused) == (100, 1900)


async def test_each_bucket_has_its_own_cost(store: BucketStore) -> None:
    """What is only looked at stays as it was, whatever the others give."""
    one, two, three = bucket("a", FIVE), bucket("b", FIVE), bucket("c", FIVE)

    grants = await store.take([one.costing(4), two, three.costing(0)])

    assert [grant.remaining for grant in grants] == [1, 4, 5]
    refused = await store.take([one.costing(2), two, three.costing(0)])
    assert [grant.allowed for grant in refused] == [False, True, True]
    assert [grant.remaining for grant in refused] == [1, 4, 5]


async def test_what_is_charged_afterwards_is_owed(
    store: BucketStore, clock: Clock
) -> None:
    """The bucket is empty until what it owes has flowed in, and says so."""
    one = bucket("a", FIVE)
    await store.take([one.costing(4)])

    store.settle([one.costing(3)])

    [grant] = await store.take([one])
    assert grant == Grant(False, 0, 36.0, 84.0)
    clock.now += 36 * SECOND
    assert (await store.take([one]))[0] == Grant(True, 0, 0.0, 60.0)


async def test_nobody_owes_more_than_a_bucket(store: BucketStore, clock: Clock) -> None:
    """However much is charged, a wait of twice a fill is the longest."""
    one = bucket("a", FIVE)
    for _ in range(5):
        store.settle([one.costing(2**70)])

    assert await store.take([one]) == [Grant(False, 0, 72.0, 120.0)]
    clock.now += 72 * SECOND
    assert (await store.take([one]))[0].allowed


async def test_what_is_given_back_can_be_taken_again(store: BucketStore) -> None:
    """Up to a full bucket, and what is owed first."""
    one, other = bucket("a", FIVE), bucket("b", FIVE)
    await store.take([one.costing(4), other])

    store.settle([one.costing(-2), other.costing(-4)])

    grants = await store.take([one.costing(0), other.costing(0)])
    assert [grant.remaining for grant in grants] == [3, 5]
    store.settle([one.costing(5), one.costing(-3)])
    assert (await store.take([one.costing(0)]))[0].remaining == 1


async def test_a_burst_given_back_makes_it_full(store: BucketStore) -> None:
    """Whatever it owed."""
    one = bucket("a", FIVE)
    store.settle([one.costing(9)])
    store.settle([one.costing(-5)])

    assert await store.take([one.costing(0)]) == [Grant(True, 5, 0.0, 0.0)]


async def test_settling_nothing_is_nothing(store: BucketStore) -> None:
    """And is counted as no request."""
    store.settle([])
    store.settle([bucket("a", FIVE)])

    assert (store.taken, store.refused) == (0, 0)


async def test_no_bucket_is_no_limit(store: BucketStore) -> None:
    """A request without limits is not counted."""
    assert await store.take([]) == []
    assert (store.taken, store.refused) == (0, 0)


async def test_looking_is_not_counted(store: BucketStore) -> None:
    """The counters are of requests."""
    await store.take(costing([bucket("a", FIVE)], 0))

    assert (store.taken, store.refused) == (0, 0)
    assert store.state == "ok"


async def test_strange_names_have_buckets_of_their_own(store: BucketStore) -> None:
    """NUL, newline, braces, blanks, bytes that are no text, and ten kilobytes."""
    names = ["a", "a\x00", "a\n", "{a}", "a}", "}:{", " a", "\ud800", "a" * 10_240, "ä"]
    for name in names:
        await store.take(costing([bucket(name, FIVE)], 5))
        [other] = await store.take(costing([bucket(name + "!", FIVE)], 0))

        assert (name, other.remaining) == (name, 5)


# Lua against Python.


@st.composite
def rates(draw: st.DrawFn) -> RateLimit:
    """Limits of all sizes up to the exact bound.

    A token takes five seconds or more, for Redis forgets a bucket when by its own
    clock it would be full, and the test's clock may stand.
    """
    count = draw(st.sampled_from([1, 2, 3, 7, 10, 100, 997, 10_000]))
    period = draw(st.integers(5 * SECOND * count, 10**13))
    most = (MAX_EXACT - 1 - count) // period
    return RateLimit.of(count, period, draw(st.integers(1, min(most, 2000))))


steps = st.one_of(
    st.tuples(st.just("by"), st.integers(-MINUTE, MINUTE), st.just(0)),
    st.tuples(st.just("by"), st.integers(-(10**14), 10**14), st.just(0)),
    st.tuples(
        st.sampled_from(["to full", "back a fill"]),
        st.integers(-1, 1),
        st.integers(0, 2),
    ),
)
"""How the clock moves: the kind, microseconds, and whose bucket's fill is meant."""

requests = st.tuples(
    st.sampled_from(["take", "take", "settle"]),
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(st.integers(0, 3), st.integers(-2500, 2500)),
        ),
        min_size=1,
        max_size=4,
    ),
)
"""What is asked, of which buckets, and the cost of each."""

_examples = itertools.count()


@pytest.mark.parametrize("kind", ["redis", "cluster"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    limits=st.lists(rates(), min_size=3, max_size=3),
    ticks=st.lists(
        st.tuples(steps, st.lists(requests, min_size=1, max_size=6)), max_size=12
    ),
)
async def test_lua_and_python_agree(
    request: pytest.FixtureRequest,
    kind: str,
    limits: list[RateLimit],
    ticks: list[tuple[tuple[str, int, int], list[tuple[str, list[tuple[int, int]]]]]],
) -> None:
    """The same history gives the same grants, whatever the clock does."""
    clock, example = Clock(), next(_examples)
    # Of one owner: on several servers, what is given back is so a moment later.
    buckets = [bucket(str(example), limit, f"{n}") for n, limit in enumerate(limits)]
    memory = MemoryStore(clock)
    async with shared_store(url_of(kind, request), clock) as shared:
        for (way, advance, which), wanted in ticks:
            if way == "to full":
                [grant] = memory.take_now([buckets[which].costing(0)])
                advance += round(grant.reset_after * SECOND)
            elif way == "back a fill":
                advance -= us_until_full(limits[which], 0)
            clock.now = min(max(clock.now + advance, 0), MAX_EXACT // 2)
            answers, expected = [], []
            # Last a look, so that whatever was settled before it has its instant.
            for verb, pairs in [*wanted, ("take", [(0, 0), (1, 0), (2, 0)])]:
                if verb == "settle":
                    takes = [buckets[n].costing(cost) for n, cost in pairs]
                    shared.settle(takes)
                    memory.settle(takes)
                else:
                    takes = [buckets[n].costing(abs(cost)) for n, cost in pairs]
                    answers.append(shared.take(takes))
                    expected.append(memory.take_now(takes))

            assert [await answer for answer in answers] == expected


# Memory only.


def names() -> Iterator[str]:
    """Yield ever new subjects."""
    return (f"user-{number}" for number in itertools.count())


async def test_memory_is_bounded(clock: Clock) -> None:
    """However many subjects there are, and though no bucket is full."""
    store = MemoryStore(clock, max_keys=50)
    for name in itertools.islice(names(), 500):
        await store.take([bucket(name, FIVE)])

        assert len(store) <= 50


async def test_memory_of_one_bucket_holds_the_latest(clock: Clock) -> None:
    """The oldest goes first."""
    store = MemoryStore(clock, max_keys=1)
    await store.take([bucket("a", FIVE)])
    await store.take([bucket("b", FIVE)])

    assert (await store.take(costing([bucket("b", FIVE)], 0)))[0].remaining == 4
    assert (await store.take(costing([bucket("a", FIVE)], 0)))[0].remaining == 5


async def test_full_buckets_are_forgotten(clock: Clock) -> None:
    """New subjects push out those that have all their tokens, and only those."""
    store = MemoryStore(clock)
    subjects = names()
    slow = bucket("slow", RateLimit.of(1, 3600 * SECOND))
    await store.take([slow])
    for name in itertools.islice(subjects, 5000):
        await store.take([bucket(name, FIVE)])
    clock.now += 12 * SECOND
    for name in itertools.islice(subjects, 5000):
        await store.take([bucket(name, FIVE)])

    assert len(store) < 5500
    assert not (await store.take([slow]))[0].allowed


async def test_looking_remembers_nothing(clock: Clock) -> None:
    """Who only asks costs no memory, and neither does who is refused."""
    store = MemoryStore(clock)
    await store.take(costing([bucket("a", FIVE)], 0))
    await store.take(costing([bucket("a", FIVE)], 6))

    assert len(store) == 0


async def test_a_closed_memory_is_empty(clock: Clock) -> None:
    """Opening it costs nothing, closing it gives everything back."""
    store = MemoryStore(clock)
    await store.open()
    await store.take([bucket("a", FIVE)])
    await store.close()

    assert len(store) == 0
