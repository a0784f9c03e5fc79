"""The outside parts that tests of the edges share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one Redis for all tests that leave it as they found it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """Give an empty Redis with its statistics at zero."""
    shared_redis.command("FLUSHALL")
    shared_redis.command("CONFIG", "RESETSTAT")
    return shared_redis


@pytest.fixture
def doomed_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that the test may pause and kill."""
    with redis_server(tmp_path) as server:
        yield server
