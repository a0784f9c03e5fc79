"""What only Redis has: batches, the server's clock, expiry, and being lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core.bucket import MICROSECONDS, Grant, RateLimit
from proxy.core.limit import Limit, Per
from proxy.core.limits import Take, takes_for
from proxy.edge.redis_link import MAX_BATCH_KEYS
from proxy.edge.redis_store import RedisStore, SharedStore
from tests.redis_server import RedisServer, redis_server
from tests.wire import eventually

HOUR = 3600 * MICROSECONDS
HUNDRED = RateLimit.of(100, HOUR)


def now_us() -> int:
    """Return this process's clock."""
    return time.monotonic_ns() // 1000


def bucket(name: str, rate: RateLimit = HUNDRED) -> Take:
    """Return a bucket of somebody called ``name``."""
    limit = Limit(id="test", per=Per.SUBJECT, rates={None: rate})
    [one] = takes_for((limit,), role="", subject=name, client="")
    return one


def costing(takes: list[Take], cost: int) -> list[Take]:
    """Return what takes so much from each of these buckets."""
    return [one.costing(cost) for one in takes]


@asynccontextmanager
async def opened(
    url: str, *, patience: float = 10.0, probe_every: float = 0.05
) -> AsyncIterator[RedisStore]:
    """Open a store and close it at the end."""
    store = RedisStore(url, now_us, timeout=patience, probe_every=probe_every)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[RedisStore]:
    """Give a store on the shared Redis, with all the time it needs."""
    async with opened(redis.url) as one:
        assert one.state == "ok"
        yield one


def local(store: SharedStore) -> int:
    """Return how many requests Redis did not answer."""
    return sum(store.local.values())


async def timed(answer: Awaitable[list[Grant]]) -> tuple[list[Grant], float]:
    """Return the answer and the seconds it took."""
    started = time.monotonic()
    grants = await answer
    return grants, time.monotonic() - started


# Settling.


async def test_settling_goes_with_the_takes_of_its_tick(
    store: RedisStore,
) -> None:
    """In their order, in one command, and nobody waits for it."""
    one = bucket("a")
    first = store.take([one])
    store.settle([one.costing(9)])
    second = store.take([one])

    assert [(await answer)[0].remaining for answer in (first, second)] == [99, 89]
    assert store.batches == 1


async def test_what_a_lost_redis_was_not_told_is_settled_here(tmp_path: Path) -> None:
    """So that this process's own buckets know of it."""
    with redis_server(tmp_path) as server:
        async with opened(server.url, patience=0.05, probe_every=60) as store:
            server.pause()
            store.settle([bucket("a").costing(40)])
            try:
                assert (await store.take([bucket("a")]))[0].remaining == 59
                store.settle([bucket("a").costing(9)])
                assert (await store.take([bucket("a")]))[0].remaining == 49
            finally:
                server.resume()


# Batches.


async def test_takes_of_one_tick_are_one_command(
    store: RedisStore, redis: RedisServer
) -> None:
    """However many requests, and however many limits each of them has."""
    requests = [[bucket(f"{n}-{m}") for m in range(3)] for n in range(64)]

    answers = await asyncio.gather(*map(store.take, requests))

    assert all(grant.remaining == 99 for grants in answers for grant in grants)
    assert (redis.calls("evalsha"), redis.calls("mget"), store.batches) == (1, 1, 1)


async def test_a_batch_writes_each_bucket_once(
    store: RedisStore, redis: RedisServer
) -> None:
    """A bucket that everybody takes from is written when all have taken."""
    one = [bucket("a")]

    answers = await asyncio.gather(*(store.take(one) for _ in range(100)))

    assert [grants[0].remaining for grants in answers] == [*range(99, -1, -1)]
    assert redis.calls("set") == 1


async def test_a_batch_is_bounded(store: RedisStore, redis: RedisServer) -> None:
    """One command does not stop Redis for everybody else."""
    await asyncio.gather(*(store.take([bucket(str(n))]) for n in range(1201)))

    assert redis.calls("evalsha") == -(-1201 // MAX_BATCH_KEYS)


async def test_takes_wait_for_the_commands_under_way(
    store: RedisStore, redis: RedisServer
) -> None:
    """Two commands are on their way at the most; the rest goes out together."""
    redis.pause()
    taking = []
    try:
        for n in range(10):
            taking.append(asyncio.ensure_future(store.take([bucket(str(n))])))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert store.batches == 2
    finally:
        redis.resume()
    await asyncio.gather(*taking)

    assert store.batches == 3


async def test_processes_share_a_bucket(store: RedisStore, redis: RedisServer) -> None:
    """What one took, the other has not."""
    one = [bucket("a")]
    async with opened(redis.url) as other:
        await store.take(costing(one, 40))

        assert (await other.take(costing(one, 40)))[0].remaining == 20
        assert not (await store.take(costing(one, 40)))[0].allowed


# The script.


async def test_the_servers_clock_counts(store: RedisStore, redis: RedisServer) -> None:
    """A bucket says when it was left, by the clock of Redis."""
    one = bucket("a")
    await store.take([one])
    seconds, micros = redis.command("TIME")

    level, at = map(int, redis.command("GET", one.key).split(":"))

    assert level == HUNDRED.capacity - HUNDRED.token
    assert 0 <= seconds * MICROSECONDS + micros - at < 60 * MICROSECONDS


async def test_a_bucket_lives_until_it_is_full(
    store: RedisStore, redis: RedisServer
) -> None:
    """And a second more, so that idle subjects cost nothing."""
    one = bucket("a")
    for taken, seconds in ((1, 36), (9, 360), (90, 3600)):
        await store.take(costing([one], taken))

        left = redis.command("PTTL", one.key) / 1000
        assert seconds - 30 < left <= seconds + 1


async def test_looking_and_refusals_write_nothing(
    store: RedisStore, redis: RedisServer
) -> None:
    """Who only asks leaves no key."""
    await store.take(costing([bucket("a")], 0))
    await store.take(costing([bucket("a")], 101))

    assert redis.command("KEYS", "lb:{*") == []


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "nonsense"),
        ("SET", "-1:5"),
        ("SET", "99999999999999999999:1"),
        ("SET", "1:99999999999999999999"),
        ("LPUSH", "a list"),
    ],
    ids=" ".join,
)
async def test_a_foreign_value_is_mended(
    store: RedisStore, redis: RedisServer, command: tuple[str, str]
) -> None:
    """It counts as a bucket never touched, and spoils nobody else's batch."""
    one = bucket("a")
    redis.command(command[0], one.key, command[1])

    for remaining in (99, 98):
        answers = await asyncio.gather(store.take([one]), store.take([bucket("b")]))
        assert [grants[0].remaining for grants in answers] == [remaining, remaining]
    assert (store.failures, local(store)) == (0, 0)


async def test_a_forgotten_script_is_loaded_again(
    store: RedisStore, redis: RedisServer
) -> None:
    """Batches that were under way together are answered, each from its own bucket."""
    redis.command("SCRIPT", "FLUSH")

    first = asyncio.ensure_future(store.take(costing([bucket("a")], 10)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.ensure_future(store.take(costing([bucket("b")], 20)))
    await asyncio.gather(first, second)
    third = await store.take([bucket("a")])

    assert first.result()[0].remaining == 90
    assert second.result()[0].remaining == 80
    assert third[0].remaining == 89
    assert (store.failures, local(store)) == (0, 0)
    assert 1 <= redis.calls("eval") - 1 <= 2  # one was a heartbeat


# Being lost.


async def test_a_silent_redis_is_answered_for_in_time(
    doomed_redis: RedisServer,
) -> None:
    """Takes wait for the timeout once, then not at all, and Redis comes back."""
    one = [bucket("a")]
    async with opened(doomed_redis.url, patience=0.05) as store:
        await store.take(costing(one, 50))
        doomed_redis.pause()

        grants, waited = await timed(store.take(costing(one, 30)))
        assert (grants[0].remaining, local(store)) == (70, 1)  # this process's own
        assert 0.04 < waited < 0.5
        assert store.state == "degraded"
        grants, waited = await timed(store.take(costing(one, 30)))
        assert (grants[0].remaining, local(store)) == (40, 2)
        assert waited < 0.04
        assert store.failures >= 1

        doomed_redis.resume()
        await eventually(lambda: store.state == "ok")
        # It is told of the sixty; the thirty before it fell silent it may have taken.
        await eventually(lambda: not store._stand_in._owed)
        [left] = await store.take(costing(one, 0))
        assert left.remaining == 0
        assert 109 * 36 < left.reset_after <= 140 * 36


async def test_whoever_waits_behind_a_silent_batch_is_answered_too(
    doomed_redis: RedisServer,
) -> None:
    """Those in the next batches wait no longer than those in the first."""
    async with opened(doomed_redis.url, patience=0.05) as store:
        doomed_redis.pause()
        taking = []
        for n in range(5):
            taking.append(asyncio.ensure_future(timed(store.take([bucket(str(n))]))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        answers = await asyncio.gather(*taking)

        assert all(waited < 0.5 for _, waited in answers)
        assert [grants[0].remaining for grants, _ in answers] == [99] * 5
        assert local(store) == 5
        doomed_redis.resume()


async def test_a_killed_redis_is_answered_for_at_once(
    doomed_redis: RedisServer,
) -> None:
    """Without a wait, until another one has been seen to answer."""
    one = [bucket("a")]
    async with opened(doomed_redis.url) as store:
        await store.take(costing(one, 50))
        doomed_redis.kill()

        for remaining in (70, 40):
            grants, waited = await timed(store.take(costing(one, 30)))
            assert grants[0].remaining == remaining
            assert waited < 5
        await eventually(lambda: store.failures > 3)
        assert store.state == "degraded"

        doomed_redis.start()
        await eventually(lambda: store.state == "ok" and not store._stand_in._owed)
        assert (await store.take(one))[0].remaining == 39  # it is told of the sixty


async def test_a_refusing_redis_is_answered_for(doomed_redis: RedisServer) -> None:
    """A server that may not write is as good as none, until it may."""
    one = [bucket("a")]
    async with opened(doomed_redis.url) as store:
        doomed_redis.command("CONFIG", "SET", "maxmemory", 1)

        assert (await store.take(one))[0].remaining == 99
        assert (store.failures, local(store)) == (1, 1)

        doomed_redis.command("CONFIG", "SET", "maxmemory", 0)
        await eventually(lambda: store.state == "ok" and not store._stand_in._owed)
        await eventually(lambda: local(store) == 1)
        assert (await store.take(costing(one, 0)))[0].remaining == 99


async def test_failures_in_a_row_space_the_attempts(doomed_redis: RedisServer) -> None:
    """A server that connects but never serves is not asked without pause."""
    async with opened(doomed_redis.url, probe_every=60) as store:
        doomed_redis.command("CONFIG", "SET", "maxmemory", 1)
        await store.take([bucket("a")])
        # It connects twice more, and cannot be told of the take.
        await eventually(lambda: store.failures == 3)

        await asyncio.gather(*(store.take([bucket("a")]) for _ in range(10)))
        assert (store.state, store.failures, local(store)) == ("degraded", 3, 11)


async def test_a_redis_that_was_never_there(doomed_redis: RedisServer) -> None:
    """The process starts without it, and finds it when it comes."""
    doomed_redis.kill()
    async with opened(doomed_redis.url) as store:
        assert store.state == "degraded"
        assert (await store.take([bucket("a")]))[0].remaining == 99
        assert (local(store), store.taken) == (1, 1)

        doomed_redis.start()
        await eventually(lambda: store.state == "ok")


async def test_a_store_that_nobody_opened(redis: RedisServer) -> None:
    """The first take begins to connect, and does not wait for it."""
    store = RedisStore(redis.url, now_us)

    assert (await store.take([bucket("a")]))[0].remaining == 99
    assert local(store) == 1
    await eventually(lambda: store.state == "ok")

    await store.close()


async def test_closing_answers_whoever_waits(doomed_redis: RedisServer) -> None:
    """Nobody hangs at the end, and nobody connects after it."""
    async with opened(doomed_redis.url) as store:
        doomed_redis.pause()
        taking = asyncio.ensure_future(store.take([bucket("a")]))
        await asyncio.sleep(0)
        await store.close()

        assert (await taking)[0].remaining == 99
        assert (await store.take([bucket("a")]))[0].remaining == 98
        assert (store.state, local(store)) == ("degraded", 2)
        doomed_redis.resume()


async def test_closing_while_it_connects(doomed_redis: RedisServer) -> None:
    """An attempt under way ends with the store."""
    store = RedisStore(doomed_redis.url, now_us)
    doomed_redis.pause()
    await store.take([bucket("a")])
    await asyncio.sleep(0)

    await store.close()

    assert store.state == "degraded"
    doomed_redis.resume()


async def test_a_request_that_is_gone_disturbs_nobody(store: RedisStore) -> None:
    """Its answer is dropped; the others of its batch get theirs."""
    one = [bucket("a")]
    gone = asyncio.ensure_future(store.take(one))
    stays = asyncio.ensure_future(store.take(one))
    await asyncio.sleep(0)
    gone.cancel()

    assert (await stays)[0].remaining == 98
    assert gone.cancelled()


@asynccontextmanager
async def pretender(reply: bytes) -> AsyncIterator[str]:
    """Serve what looks like Redis until a script is run, which gets ``reply``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"*"):
                parts = [await reader.readline() for _ in range(2 * int(line[1:]))]
                writer.write(
                    reply if parts[1].upper() == b"EVALSHA\r\n" else b"+OK\r\n"
                )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"?\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"-ERR no\r\n",
        b"*0\r\n",
        b"*1\r\n:1\r\n",
        b"*3\r\n:1\r\n:1\r\n:1\r\n",
        b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
        b"*2\r\n:1\r\n:-5\r\n",
    ],
)
async def test_nonsense_is_answered_for(reply: bytes) -> None:
    """Whatever a server says instead of levels, requests are answered locally."""
    async with pretender(reply) as url, opened(url, probe_every=60) as store:
        grants = await store.take([bucket("a")])

        assert grants[0].remaining == 99
        assert (store.failures, local(store)) == (1, 1)


# Opening is redis-py's business, and stays so.


def _with_password(folder: Path) -> tuple[str, tuple[str, ...], str]:
    del folder
    return "secret", ("--requirepass", "secret"), ""


def _on_a_unix_socket(folder: Path) -> tuple[str, tuple[str, ...], str]:
    path = folder / "redis.sock"
    return "", ("--unixsocket", str(path)), f"unix://{path}"


@pytest.mark.parametrize("way", [_with_password, _on_a_unix_socket])
async def test_other_ways_to_connect(
    tmp_path: Path, way: Callable[[Path], tuple[str, tuple[str, ...], str]]
) -> None:
    """A password, another database and a unix socket are taken from the URL."""
    password, options, url = way(tmp_path)
    with redis_server(tmp_path, *options, url=url, password=password) as server:
        async with opened(f"{server.url}?db=3") as store:
            assert (await store.take([bucket("a")]))[0].remaining == 99
            assert local(store) == 0
            assert "db3" in server.command("INFO", "keyspace")


def test_other_urls_are_refused() -> None:
    """The mistake is told when the process starts."""
    with pytest.raises(ValueError, match="redis://"):
        RedisStore("http://127.0.0.1", now_us)
