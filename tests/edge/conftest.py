"""The outside parts that tests of the edges share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_groups import RedisCluster, redis_cluster
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


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run one Cluster of three masters for all tests that leave it as they found it."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Give an empty Cluster with its statistics at zero."""
    shared_cluster.flush()
    for master in shared_cluster.masters:
        master.command("CONFIG", "RESETSTAT")
    return shared_cluster


@pytest.fixture
def doomed_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that the test may pause and kill."""
    with redis_server(tmp_path) as server:
        yield server
