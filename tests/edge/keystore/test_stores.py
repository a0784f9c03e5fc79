"""One conformance suite for every store of keys, against the real ones."""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest

from proxy.core.key_records import KeystoreError
from proxy.edge.keystore.configured import open_store
from proxy.edge.keystore.file_store import FileStore
from proxy.edge.keystore.ports import Keystore, KeysUnavailableError
from proxy.edge.keystore.postgres_store import PostgresStore
from proxy.edge.keystore.redis_store import RedisKeystore
from tests.key_servers import Postgres
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server

Open = Callable[[], Keystore]


@pytest.fixture(name="url", params=["file", "redis", "postgresql"])
def url_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis")
        redis.command("FLUSHALL")
        return redis.url
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            for table in ("keystore", "key_use", "key_entry"):
                connection.execute(f"DROP TABLE IF EXISTS lumina_{table}".encode())
        return postgres.url
    return str(tmp_path / "keys.sqlite3")


@pytest.fixture(name="open_one")
async def open_one_fixture(url: str) -> AsyncIterator[Open]:
    """What opens the store once more, as another process would."""
    async with contextlib.AsyncExitStack() as stack:

        def opened() -> Keystore:
            store = open_store(url)
            stack.push_async_callback(store.close)
            return store

        yield opened


async def test_before_the_first_document_there_is_none(open_one: Open) -> None:
    """Not an empty one."""
    assert await open_one().load() is None


async def test_a_document_is_replaced_by_the_next(open_one: Open) -> None:
    """Every process sees the last one."""
    one, other = open_one(), open_one()
    assert await one.save(b"first \x00\xff", 1)
    assert await other.load() == b"first \x00\xff"
    assert await other.save(b"second", 2)

    assert await one.load() == b"second"


@pytest.mark.parametrize("revision", [1, 2, 4])
async def test_nobody_overwrites_what_they_have_not_seen(
    open_one: Open, revision: int
) -> None:
    """A document that does not follow the one that is there is not written."""
    store = open_one()
    await store.save(b"first", 1)
    await store.save(b"second", 2)

    assert not await store.save(b"mine", revision)
    assert await store.load() == b"second"


async def test_of_many_writers_one_is_first(open_one: Open) -> None:
    """Of all that replace the same document at once, one succeeds."""
    stores = [open_one() for _ in range(8)]
    await stores[0].save(b"first", 1)
    done = await asyncio.gather(
        *(store.save(b"mine %d" % n, 2) for n, store in enumerate(stores))
    )

    assert sum(done) == 1
    assert await stores[0].load() == b"mine %d" % done.index(True)


async def test_encryptions_add_up(open_one: Open) -> None:
    """Over processes; a key that nobody used is not there."""
    one, other = open_one(), open_one()
    await asyncio.gather(*(store.count({7: 2, 2**32 - 1: 1}) for store in (one, other)))

    assert await one.count({7: 3}) == {7: 7, 2**32 - 1: 2}
    assert await other.count({}) == {7: 7, 2**32 - 1: 2}


async def test_entries_are_kept_by_kind_and_name(open_one: Open) -> None:
    """Those that are not there are left out; the first one stays."""
    store = open_one()
    await store.add_entries("token", {b"\x00a": b"one", b"b": b"two"})
    await store.add_entries("token", {b"\x00a": b"later", b"c": b"three"})
    await store.add_entries("other", {b"b": b"else"})

    assert await store.entries("token", [b"\x00a", b"b", b"c", b"d"]) == {
        b"\x00a": b"one",
        b"b": b"two",
        b"c": b"three",
    }
    assert await store.entries("token", []) == {}


async def test_entries_are_dropped(open_one: Open) -> None:
    """And how many there were is said."""
    store = open_one()
    await store.add_entries("token", {b"a": b"one", b"b": b"two"})

    assert await store.drop_entries("token", [b"a", b"c"]) == 1
    assert await store.drop_entries("token", []) == 0
    assert await store.entries("token", [b"a", b"b"]) == {b"b": b"two"}


async def test_all_entries_of_a_kind_are_found(open_one: Open) -> None:
    """However many there are; names may be any bytes."""
    store = open_one()
    entries = {b"%d\xff\x00" % n: b"entry %d" % n for n in range(1203)}
    await store.add_entries("token", entries)
    await store.add_entries("other", {b"a": b"else"})

    assert {one async for one in store.scan("token")} == set(entries.values())
    assert [one async for one in store.scan("nothing")] == []


def test_what_is_dropped_is_not_left_in_the_file(tmp_path: Path) -> None:
    """A forgotten key is gone from the disk, as far as a file can say."""
    path = tmp_path / "keys.sqlite3"
    store = FileStore(path)
    entry = {b"name": b"a very secret key of somebody"}
    asyncio.run(store.add_entries("subject", entry))
    assert b"very secret" in path.read_bytes()
    asyncio.run(store.drop_entries("subject", [b"name"]))

    assert b"very secret" not in path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["keys.sqlite3"]


async def test_a_file_is_its_owners(tmp_path: Path) -> None:
    """Whatever the umask says."""
    path = tmp_path / "keys.sqlite3"
    before = os.umask(0)
    try:
        await FileStore(path).save(b"first", 1)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_is_no_keystore_is_said(tmp_path: Path) -> None:
    """With the path, and why."""
    path = tmp_path / "keys.sqlite3"
    path.write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(KeysUnavailableError, match=r"keys\.sqlite3: file is not a"):
        await FileStore(path).load()
    with pytest.raises(KeysUnavailableError, match=r"unable to open|No such file"):
        await FileStore(tmp_path / "nowhere" / "keys").save(b"", 1)


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_a_store_that_is_not_there_is_said_without_its_password(
    scheme: str,
) -> None:
    """And without its address, which may hold one."""
    store = open_store(f"{scheme}://lms:canary@127.0.0.1:{free_port()}/0")
    with pytest.raises(KeysUnavailableError, match="does not answer") as caught:
        await store.load()
    await store.close()

    assert "canary" not in str(caught.value)


async def test_a_store_comes_back(redis: RedisServer, postgres: Postgres) -> None:
    """A connection that broke is made anew."""
    for store in (RedisKeystore(redis.url), PostgresStore(postgres.url)):
        await store.count({})
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = 'lumina'"
            )
        with contextlib.suppress(KeysUnavailableError):
            await store.count({})
        await store.count({})
        await store.close()


async def test_a_redis_that_forgets_is_refused(tmp_path: Path) -> None:
    """A keystore is no cache."""
    with redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
        store = RedisKeystore(server.url)
        with pytest.raises(KeysUnavailableError, match=r"allkeys-lru.*noeviction"):
            await store.load()
        await store.close()


def test_an_option_that_is_none_is_said() -> None:
    """As far as redis-py looks at the URL."""
    with pytest.raises(KeystoreError, match="KEYSTORE: an option"):
        open_store("redis://127.0.0.1:1?socket_timeout=soon")
