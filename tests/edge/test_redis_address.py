"""Where Redis is, as a URL says it; and that connections are made as it says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.edge.cluster_store import ClusterStore
from proxy.edge.redis_address import RedisAddress
from proxy.edge.redis_store import RedisStore, SharedStore
from tests.certificates import Authority
from tests.edge.test_cluster_store import bucket
from tests.edge.test_redis_store import local, now_us
from tests.redis_groups import redis_cluster, redis_sentinels
from tests.redis_server import redis_server

RIGHTS = (
    "-@all +@connection +eval +evalsha +script|load +mget +set +del +time +asking "
    "+expire +pexpire +zadd +zrem +zcard +zcount +zremrangebyscore +cluster|slots"
)
"""What a user of Redis needs for all that a store does."""


@pytest.mark.parametrize(
    ("url", "servers", "name"),
    [
        ("redis+sentinel://a,b:7,[::1]:8/m", (("a", 26379), ("b", 7), ("::1", 8)), "m"),
        ("redis+cluster://a,b:7,[::1]", (("a", 6379), ("b", 7), ("::1", 6379)), ""),
        ("rediss+cluster://a/", (("a", 6379),), ""),
        ("redis+sentinel://a/m%20m/3", (("a", 26379),), "m m"),
    ],
    ids=["sentinels", "cluster", "slash", "escaped"],
)
def test_several_servers_have_one_url(
    url: str, servers: tuple[tuple[str, int], ...], name: str
) -> None:
    """Each with the usual port of its kind, unless it says another."""
    address = RedisAddress.parse(url)

    assert (address.servers, address.name) == (servers, name)


def test_servers_and_sentinels_have_their_own_passwords() -> None:
    """And one authority; the database is the servers' alone."""
    address = RedisAddress.parse(
        "rediss+sentinel://u:p%40@a/m/3?ssl_ca_certs=/ca&sentinel_username=s"
        "&sentinel_password=q"
    )

    assert {k: address.options[k] for k in ("username", "password", "db")} == {
        "username": "u",
        "password": "p@",
        "db": 3,
    }
    assert address.sentinel_options == {
        "username": "s",
        "password": "q",
        "ssl_ca_certs": "/ca",
    }
    assert address.tls
    assert "p@" not in repr(address)
    assert "'q'" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+cluster://a/name",
        "redis+cluster://a:b",
        "redis+cluster://a,,b",
        "redis+cluster://a?db=x",
        "http://a",
    ],
)
def test_what_is_no_such_url_is_refused(url: str) -> None:
    """A Sentinel's has a master's name, a Cluster's has none, ports are numbers."""
    with pytest.raises(ValueError, match=r"."):
        RedisAddress.parse(url)


async def works(store: SharedStore) -> bool:
    """Say whether buckets on several servers are taken from, none of them here."""
    await store.open()
    grants = await store.take([bucket("a"), bucket("b"), bucket("c")])
    store.settle([bucket("a")])
    [left] = await store.take([bucket("a").costing(0)])
    seen = store.instances
    await store.close()
    assert all(grant.remaining == 99 for grant in grants)
    return (left.remaining, seen, local(store), store.failures) == (98, 1, 0, 0)


async def test_one_server_is_reached_by_tls(tmp_path: Path) -> None:
    """With the authority that the URL names, and with no other."""
    authority = Authority(tmp_path / "own")
    other = Authority(tmp_path / "other")
    with redis_server(tmp_path, authority=authority) as server:
        assert await works(RedisStore(server.url, now_us, timeout=5.0))
        store = RedisStore(server.url.replace(authority.file, other.file), now_us)
        await store.open()
        assert store.state == "degraded"
        await store.close()


async def test_a_cluster_is_reached_by_tls(tmp_path: Path) -> None:
    """Each of its servers."""
    authority = Authority(tmp_path / "own")
    with redis_cluster(tmp_path, authority=authority) as cluster:
        assert await works(ClusterStore(cluster.url, now_us, timeout=5.0))


def as_user(url: str) -> str:
    """Return a URL with the user that the tests make."""
    return url.replace("://", "://taker:hush@", 1)


async def test_one_server_is_used_by_a_user_with_few_rights(tmp_path: Path) -> None:
    """Nothing that a store does needs more than those of the documentation."""
    with redis_server(tmp_path) as server:
        server.command(
            "ACL", "SETUSER", "taker", "on", ">hush", "~lb:*", *RIGHTS.split()
        )

        assert await works(RedisStore(as_user(server.url), now_us, timeout=5.0))
        assert server.command("ACL", "LOG") == []


async def test_a_cluster_is_used_by_a_user_with_few_rights(tmp_path: Path) -> None:
    """The same rights on every server."""
    with redis_cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            node.command(
                *("ACL", "SETUSER", "taker", "on", ">hush", "~lb:*", *RIGHTS.split())
            )

        assert await works(ClusterStore(as_user(cluster.url), now_us, timeout=5.0))
        assert [node.command("ACL", "LOG") for node in cluster.nodes] == [[]] * 3


async def test_the_master_of_sentinels_is_used_by_a_user_with_few_rights(
    tmp_path: Path,
) -> None:
    """The Sentinels have passwords of their own, or none as here."""
    with redis_sentinels(tmp_path) as group:
        for server in group.servers:
            server.command(
                *("ACL", "SETUSER", "taker", "on", ">hush", "~lb:*", *RIGHTS.split())
            )

        assert await works(RedisStore(as_user(group.url), now_us, timeout=5.0))


def test_rights_are_documented() -> None:
    """Those that the tests give are those that operators are told of."""
    told = (Path(__file__).parents[2] / "proxy/ARCHITECTURE.md").read_text("utf-8")

    assert RIGHTS in " ".join(told.split())


@pytest.mark.parametrize(
    "make",
    [lambda: RedisStore("redis+cluster://a", now_us)],
    ids=["a Cluster as one server"],
)
def test_a_kind_has_its_store(make: Callable[[], SharedStore]) -> None:
    """The other store refuses it."""
    with pytest.raises(ValueError, match="Cluster"):
        make()
