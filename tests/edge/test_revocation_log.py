"""Revocations that all processes share, over a real Redis."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from proxy.core.revocations import Kind, Revocation, Revocations
from proxy.edge import revocation_log
from proxy.edge.revocation_log import STREAM, RevocationLog
from tests.redis_server import RedisServer
from tests.wire import eventually

NOW = 1_000_000.0
ISS = "https://id.example"


def revoked(value: str = "ada", until: float = NOW + 60) -> Revocation:
    """Return a revocation of a subject."""
    return Revocation(
        kind=Kind.SUBJECT, issuer=ISS, value=value, before=NOW, until=until, why="lost"
    )


class Process:
    """What one process knows.

    Attributes:
        held: its revocations.
        changes: how often tokens became bad.
        log: keeps them current.
    """

    def __init__(self, url: str | None) -> None:
        self.held = Revocations()
        self.changes = 0
        self.log = RevocationLog(self.held, url, lambda: NOW, self.changed)

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def values(self) -> list[str]:
        """Return which subjects are revoked."""
        return [one.value for one in self.held.all()]


@contextlib.asynccontextmanager
async def processes(*urls: str | None) -> AsyncIterator[list[Process]]:
    """Run a process for each URL."""
    running = [Process(url) for url in urls]
    try:
        for one in running:
            await one.log.start(5.0)
        yield running
    finally:
        for one in running:
            await one.log.stop()


async def test_every_process_knows_within_a_second(redis: RedisServer) -> None:
    """What one is told, all others hold, and hear of in far less than a second."""
    async with processes(redis.url, redis.url, redis.url) as (one, *others):
        loop = asyncio.get_running_loop()
        began = loop.time()

        assert await one.log.revoke(revoked())
        assert one.values() == ["ada"]

        await eventually(lambda: all(other.values() == ["ada"] for other in others))

        assert loop.time() - began < 1.0
        assert all(other.changes == 1 for other in others)
        assert [other.log.state for other in others] == ["ok", "ok"]
        assert others[0].held.all() == one.held.all()

        assert await one.log.restore(revoked().key) == (True, True)
        assert await one.log.restore(revoked().key) == (False, True)

        await eventually(lambda: not any(other.values() for other in others))


async def test_a_start_knows_what_was_revoked_before(redis: RedisServer) -> None:
    """Also what filled many reads; what was restored, or is over, is not among it."""
    async with processes(redis.url) as (one,):
        for number in range(1500):
            await one.log.revoke(revoked(f"{number}"))
        await one.log.restore(revoked("7").key)
        await one.log.revoke(revoked("over", until=NOW))
    async with processes(redis.url) as (late,):
        assert len(late.held) == 1499
        assert late.held.all() == one.held.all()
        assert late.log.age() < 1.0


async def test_what_is_known_stays_known_while_redis_is_lost(
    doomed_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """More may be revoked: here at once, elsewhere when Redis is back."""
    caplog.set_level(logging.INFO, "lumina.tokens")
    async with processes(doomed_redis.url, doomed_redis.url) as (one, other):
        await one.log.revoke(revoked())
        await eventually(lambda: other.values() == ["ada"])
        doomed_redis.kill()
        await eventually(lambda: one.log.state != "ok" and other.log.state != "ok")

        assert one.log.state == "Redis does not answer: known ones hold"
        assert not await one.log.revoke(revoked("bob"))
        assert one.values() == ["ada", "bob"]
        assert other.values() == ["ada"]

        doomed_redis.start()  # empty, as it keeps nothing on disk
        await eventually(lambda: other.values() == ["ada", "bob"])

        await eventually(lambda: one.log.state == "ok")

        assert "Redis has lost them, and is told again" in caplog.text
    async with processes(doomed_redis.url) as (late,):
        assert sorted(late.values()) == ["ada", "bob"]


async def test_a_hanging_redis_holds_up_no_start(
    doomed_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start goes on without, says so, and follows as soon as it can."""
    monkeypatch.setattr(revocation_log, "_TIMEOUT", 0.2)
    async with processes(doomed_redis.url) as (one,):
        await one.log.revoke(revoked())
        doomed_redis.pause()
        late = Process(doomed_redis.url)
        await late.log.start(0.1)

        assert late.log.state == "Redis does not answer: none is known"
        assert late.log.age() > 0.0

        doomed_redis.resume()
        await eventually(lambda: late.values() == ["ada"])
        await late.log.stop()


async def test_a_write_that_fails_is_repeated(
    doomed_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis that went away just now is told when it is back."""
    monkeypatch.setattr(revocation_log, "BLOCK_MS", 60_000)
    async with processes(doomed_redis.url, doomed_redis.url) as (one, other):
        doomed_redis.kill()

        assert not await one.log.revoke(revoked())

        doomed_redis.start()
        await eventually(lambda: other.values() == ["ada"])


async def test_an_emptied_redis_is_told_again(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUSHALL breaks no connection, and is noticed all the same."""
    monkeypatch.setattr(revocation_log, "SWEEP", 0.05)
    async with processes(redis.url) as (one,):
        await one.log.revoke(revoked())
        await eventually(lambda: one.changes == 2)
        redis.command("FLUSHALL")
        await eventually(lambda: redis.command("XLEN", STREAM) == 1)

        assert one.values() == ["ada"]


async def test_what_cannot_be_read_is_skipped(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else somebody writes there, what comes after it is read."""
    redis.command("XADD", STREAM, "*", "do", "dance")
    redis.command("XADD", STREAM, "*", "kind", "x")
    redis.command("XADD", STREAM, "*", "\xff", "x")
    async with processes(redis.url) as (one,):
        await one.log.revoke(revoked())

        assert caplog.text.count("cannot be read") == 3
        assert one.values() == ["ada"]


async def test_without_redis_a_process_knows_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is revoked is in force at once, and forgotten when it is over."""
    monkeypatch.setattr(revocation_log, "SWEEP", 0.01)
    async with processes(None) as (one,):
        assert await one.log.revoke(revoked())
        assert await one.log.restore(revoked().key) == (True, True)
        assert (one.values(), one.log.state, one.log.age()) == ([], "ok", 0.0)

        one.held.add(revoked(until=NOW))
        await eventually(lambda: one.values() == [])
