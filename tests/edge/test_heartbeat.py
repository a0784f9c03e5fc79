"""Processes that share buckets count each other."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.edge import heartbeat
from proxy.edge.heartbeat import FRESH, KEY, Heartbeat
from proxy.edge.redis_wire import Reply
from tests.edge.test_redis_store import bucket, opened
from tests.redis_server import RedisServer
from tests.wire import eventually


async def test_each_process_counts_all(redis: RedisServer) -> None:
    """The second knows of both at once; who closes is not there any more."""
    async with opened(redis.url) as first:
        await eventually(lambda: redis.command("ZCARD", KEY) == 1)
        async with opened(redis.url) as second:
            await eventually(lambda: second.instances == 2)
        await eventually(lambda: redis.command("ZCARD", KEY) == 1)
        assert first.instances in {1, 2}  # it asks every two seconds


async def test_who_died_is_forgotten(redis: RedisServer) -> None:
    """By the server's clock, and so is who came from the future."""
    now = redis.command("TIME")[0]
    redis.command("ZADD", KEY, now - FRESH - 1, "dead", now + FRESH + 9, "from then")
    redis.command("ZADD", KEY, now - 2, "alive")
    async with opened(redis.url) as store:
        await eventually(lambda: store.instances == 2)

        assert "alive" in redis.command("ZRANGE", KEY, 0, -1)
        assert redis.command("ZCARD", KEY) == 2
        assert 0 < redis.command("TTL", KEY) <= FRESH


async def test_a_lost_store_is_divided_among_those_that_were_seen(
    doomed_redis: RedisServer,
) -> None:
    """Four processes give a quarter each, of the burst and of the rate."""
    for name in ("b", "c", "d"):
        doomed_redis.command("ZADD", KEY, doomed_redis.command("TIME")[0], name)
    async with opened(doomed_redis.url) as store:
        await eventually(lambda: store.instances == 4)
        doomed_redis.kill()
        answers = [(await store.take([bucket("a")]))[0] for _ in range(26)]

        assert [grant.allowed for grant in answers] == [True] * 25 + [False]
        assert 143 < answers[-1].retry_after <= 144  # a token in four times 36 s


async def test_an_error_says_nothing_of_processes() -> None:
    """The last number stays; nothing is sent when nobody carries it."""
    seen: list[int] = []
    sent: list[tuple[str | int | bytes, ...]] = []

    class Carrier:
        """Answers everything with the same replies."""

        def call(
            self,
            command: tuple[str | int | bytes, ...],
            on_reply: Callable[[Reply], object],
        ) -> None:
            """Answer at once."""
            sent.append(command)
            for reply in ("an error", 0, 3, None):
                on_reply(reply)

    beat = Heartbeat("me", seen.append)
    await beat.stop()
    beat.start(lambda _key: None)
    await asyncio.sleep(0)
    assert sent == []
    beat.start(lambda _key: Carrier())
    await beat.stop()

    assert [command[0] for command in sent] == ["ZREM"]
    assert seen == []


async def test_a_beat_is_repeated(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a process that lives is not forgotten."""
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    async with opened(redis.url):
        await eventually(lambda: redis.calls("zadd") > 3)
