"""What only a Cluster has: slots, servers that have them, and slots that move."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from proxy.core.bucket import MICROSECONDS, RateLimit
from proxy.core.limit import Limit, Per
from proxy.core.limits import Take, takes_for
from proxy.edge.cluster_map import SLOTS, ask_for_slots
from proxy.edge.cluster_store import ClusterStore, slot_of
from proxy.edge.redis_address import RedisAddress
from tests.edge.test_redis_store import local, now_us
from tests.redis_groups import RedisCluster, redis_cluster
from tests.redis_server import RedisServer
from tests.wire import eventually

HUNDRED = RateLimit.of(100, 3600 * MICROSECONDS)
_names = (f"user-{number}" for number in itertools.count())


def bucket(name: str, limit_id: str = "test") -> Take:
    """Return a bucket of a hundred tokens of somebody called ``name``."""
    limit = Limit(id=limit_id, per=Per.SUBJECT, rates={None: HUNDRED})
    [one] = takes_for((limit,), role="", subject=name, client="")
    return one


@asynccontextmanager
async def opened(
    cluster: RedisCluster, *, patience: float = 10.0
) -> AsyncIterator[ClusterStore]:
    """Open a store and close it at the end."""
    store = ClusterStore(cluster.url, now_us, timeout=patience, probe_every=0.05)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncIterator[ClusterStore]:
    """Give a store on the shared Cluster, with all the time it needs."""
    async with opened(cluster) as one:
        assert one.state == "ok"
        yield one
        assert (one.failures, local(one)) == (0, 0)


def on_each(cluster: RedisCluster, limit_id: str = "test") -> list[Take]:
    """Return a bucket on each master, in the order of the masters."""
    found: dict[int, Take] = {}
    while len(found) < len(cluster.masters):
        take = bucket(next(_names), limit_id)
        found.setdefault(slot_of(take.key) * len(cluster.masters) // SLOTS, take)
    return [found[number] for number in sorted(found)]


def left(cluster: RedisCluster, take: Take) -> float:
    """Return the tokens that a bucket holds in its server."""
    for master in cluster.masters:
        slots = master.command("CLUSTER", "COUNTKEYSINSLOT", slot_of(take.key))
        if slots and (value := master.command("GET", take.key)):
            return int(value.split(":")[0]) / HUNDRED.token
    return float(HUNDRED.burst)


# Where a bucket is.


@given(st.text(st.characters(codec="utf-8")))
def test_a_slot_is_what_redis_says(key: str) -> None:
    """With and without a hash tag, whatever braces there are."""
    assert slot_of(key) == key_slot(key.encode())


@pytest.mark.parametrize(
    ("key", "slot"),
    [("123456789", 12_739), ("{user1000}.following", 3443), ("foo{}{bar}", 8363)],
)
def test_a_slot_is_that_of_the_specification(key: str, slot: int) -> None:
    """Redis Cluster specification: the test vector of CRC16, and its hash tags."""
    assert slot_of(key) == slot


def test_buckets_of_one_owner_share_a_slot() -> None:
    """Whatever limits and names: so they are taken all or none."""
    for name in ("ada", "{ada}", "}{", "a\x00b\n", "x" * 10_240):
        slots = {slot_of(bucket(name, limit).key) for limit in ("api", "login", "#0")}

        assert len(slots) == 1


# Taking.


async def test_takes_of_one_tick_are_one_command_for_each_master(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """However many requests, and in however many slots their buckets are."""
    names = [next(_names) for _ in range(300)]

    answers = await asyncio.gather(*(store.take([bucket(name)]) for name in names))

    assert all(grants[0].remaining == 99 for grants in answers)
    assert [master.calls("evalsha") for master in cluster.masters] == [1, 1, 1]
    assert (store.batches, store.taken) == (3, 300)


async def test_a_request_takes_on_several_servers_or_on_none(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """What one server refuses is given back on the others, and counts once."""
    takes = on_each(cluster)
    await store.take([takes[1].costing(100)])

    grants = await store.take([one.costing(30) for one in takes])

    assert [grant.allowed for grant in grants] == [True, False, True]
    assert [grant.remaining for grant in grants] == [100, 0, 100]
    assert (store.taken, store.refused) == (1, 1)
    assert [grant.remaining for grant in await store.take(takes)] == [100, 0, 100]
    await eventually(lambda: left(cluster, takes[0]) == left(cluster, takes[2]) == 100)


async def test_a_bucket_that_is_there_twice_is_given_back_once(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """As it is taken from once."""
    first, empty, _ = on_each(cluster)
    await store.take([empty.costing(100)])
    await store.take([first.costing(50)])

    await store.take([first, empty, first])

    assert (await store.take([first.costing(0)]))[0].remaining == 50


async def test_concurrent_requests_over_servers_admit_what_there_is(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """A bucket never gives more than it has, and nothing is lost on the way."""
    takes = on_each(cluster)

    answers = await asyncio.gather(*(store.take(takes) for _ in range(500)))

    admitted = sum(all(grant.allowed for grant in grants) for grants in answers)
    assert admitted == 100
    again = await asyncio.gather(*(store.take([one]) for one in takes))
    assert [grants[0].allowed for grants in again] == [False] * 3


async def test_settling_reaches_every_server(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """In one call, each bucket where it is."""
    takes = on_each(cluster)
    store.settle([one.costing(40) for one in takes])

    grants = await store.take(takes)

    assert [grant.remaining for grant in grants] == [59] * 3


async def test_a_script_that_every_server_forgot_is_loaded_again(
    store: ClusterStore, cluster: RedisCluster
) -> None:
    """One by one, as they are asked."""
    for master in cluster.masters:
        master.command("SCRIPT", "FLUSH")

    grants = await store.take(on_each(cluster))

    assert [grant.remaining for grant in grants] == [99] * 3


# Slots that move.


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[RedisCluster]:
    """Run a Cluster whose slots the test may move."""
    with redis_cluster(tmp_path) as cluster:
        yield cluster


async def test_buckets_are_followed_where_they_move(moving: RedisCluster) -> None:
    """While a slot moves, and when it has: every take is answered by Redis."""
    source, target, _ = moving.masters
    old = on_each(moving)[0]
    slot = slot_of(old.key)
    new = bucket(old.key.partition("{s:")[2].partition("}")[0], "another")
    async with opened(moving) as store:
        await store.take([old.costing(10)])
        moving.move(slot, source, target)

        # The old bucket is where it was, the new one is born where it will be.
        assert (await store.take([old]))[0].remaining == 89
        assert (await store.take([new.costing(20)]))[0].remaining == 80
        assert target.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        batch = [store.take([one]) for one in (old, new, *on_each(moving))]
        answers = [await answer for answer in batch]
        assert [grants[0].remaining for grants in answers] == [88, 79, 99, 99, 99]

        moving.finish_move(slot, source, target)
        assert (await store.take([old]))[0].remaining == 87
        assert (await store.take([old, new]))[1].remaining == 78
        await eventually(lambda: not store._unsure)
        assert (await store.take([old, new]))[1].remaining == 77
        assert (store.failures, local(store), store.state) == (0, 0, "ok")


async def test_a_request_on_both_sides_of_a_move_is_answered_here(
    moving: RedisCluster,
) -> None:
    """Neither server may take it whole; the others are not disturbed."""
    source, target, _ = moving.masters
    old = on_each(moving)[0]
    slot = slot_of(old.key)
    new = bucket(old.key.partition("{s:")[2].partition("}")[0], "another")
    async with opened(moving) as store:
        await store.take([old])
        moving.move(slot, source, target)
        await store.take([new])

        both, other = await asyncio.gather(
            store.take([old, new]), store.take([on_each(moving)[1]])
        )

        assert [grant.remaining for grant in both] == [99, 99]
        assert (other[0].remaining, local(store), store.failures) == (99, 1, 0)


# Servers that are lost.


async def test_a_lost_master_is_answered_for_and_no_other(
    moving: RedisCluster,
) -> None:
    """Two thirds of the slots count as before; then its own do, empty as they are."""
    takes = on_each(moving)
    for master in moving.masters:
        master.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with opened(moving) as store:
        for one in takes:
            await store.take([one.costing(50)])
        moving.masters[0].kill()

        answers = [(await store.take([one]))[0].remaining for one in takes]
        assert answers == [99, 49, 49]
        assert (await store.take(takes))[1].remaining == 48
        assert (local(store), store.state) == (2, "degraded")

        moving.masters[0].start()
        await eventually(lambda: store.state == "ok")
        await eventually(lambda: not store._stand_in._owed)
        # It knows of the two takes that were answered here.
        assert (await store.take([takes[0]]))[0].remaining == 97


async def test_a_silent_master_costs_its_buckets_the_timeout_once(
    moving: RedisCluster,
) -> None:
    """And the others nothing."""
    takes = on_each(moving)
    async with opened(moving, patience=0.05) as store:
        moving.masters[1].pause()
        try:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await store.take(takes)
            assert loop.time() - started < 0.5
            assert store.state == "degraded"
            assert (await store.take(takes))[1].allowed
        finally:
            moving.masters[1].resume()
        await eventually(lambda: store.state == "ok")


async def test_a_cluster_that_comes_later_is_found(tmp_path: Path) -> None:
    """Takes are answered here until it is there."""
    cluster = RedisCluster(tmp_path)
    async with opened(cluster) as store:
        assert store.state == "degraded"
        assert (await store.take([bucket("a")]))[0].remaining == 99
        store.settle([bucket("a").costing(9)])
        assert (await store.take([bucket("a")]))[0].remaining == 89
        try:
            await asyncio.to_thread(cluster.start)
            await eventually(lambda: store.state == "ok")
            await eventually(lambda: not store._stand_in._owed)

            assert (await store.take([bucket("a")]))[0].remaining == 88
        finally:
            cluster.kill()


async def test_whoever_is_no_cluster_says_nothing_of_slots(redis: RedisServer) -> None:
    """A single server is asked, refuses, and the next is asked."""
    address = RedisAddress.parse(f"redis+cluster://127.0.0.1:{redis.port}")

    assert await ask_for_slots(address, address.servers) is None


@pytest.mark.parametrize(
    "url", ["redis://a", "redis+sentinel://a/b", "redis+cluster://a:b", "http://a"]
)
def test_other_urls_are_refused(url: str) -> None:
    """The mistake is told when the process starts."""
    with pytest.raises(ValueError, match=r"."):
        ClusterStore(url, now_us)
