"""Key services and stores for the tests of keystores, each started when asked for."""

from collections.abc import Iterator

import pytest

from tests.key_servers import AwsKms, Postgres, Transit, running
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(name="transit", scope="session")
def transit_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transit]:
    """OpenBao with a key."""
    server = Transit(tmp_path_factory.mktemp("transit"))
    with running(server):
        yield server


@pytest.fixture(name="kms", scope="session")
def kms_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsKms]:
    """AWS KMS as moto plays it."""
    server = AwsKms(tmp_path_factory.mktemp("kms"))
    with running(server):
        yield server


@pytest.fixture(name="postgres", scope="session")
def postgres_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """PostgreSQL with an empty database."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    with running(server):
        yield server


@pytest.fixture(name="redis", scope="session")
def redis_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server
