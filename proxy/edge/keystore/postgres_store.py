"""A keystore in PostgreSQL: three tables, made when they are not there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

import psycopg

from proxy.edge.keystore import sql
from proxy.edge.keystore.ports import KeysUnavailableError

_TIMEOUT_SECONDS = 5
_P = "%s"
_LOCK = 0x6C756D696E61
"""Of whoever makes the tables; "lumina" in ASCII."""


class PostgresStore:
    """Keeps everything in tables of one database.

    Args:
        url: ``postgresql://…``, as libpq reads it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> bytes | None:
        """Return the document; None before there is one.

        Raises:
            KeysUnavailableError: the database does not answer.
        """
        async with self._transaction() as connection:
            row = await (await connection.execute(sql.LOAD)).fetchone()
        return None if row is None else bytes(row[0])

    async def save(self, document: bytes, revision: int) -> bool:
        """Put a document in the place of the one with the revision below its own."""
        values: tuple[int | bytes, ...] = revision, document
        words = sql.INSERT
        if revision > 1:
            words, values = sql.REPLACE, (*values, revision - 1)
        async with self._transaction() as connection:
            return (await connection.execute(_psql(words), values)).rowcount == 1

    async def count(self, used: Mapping[int, int]) -> dict[int, int]:
        """Add to the encryptions under each key; return all of them."""
        async with self._transaction() as connection:
            # In one order, or two processes might wait for each other.
            for row in sorted(used.items()):
                await connection.execute(_psql(sql.USE), row)
            rows = await (await connection.execute(sql.USED)).fetchall()
        return dict(rows)

    async def entries(self, kind: str, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of a kind that are there, of those asked for."""
        words = (
            "SELECT name, entry FROM lumina_key_entry "
            "WHERE kind = %s AND name = ANY(%s)"
        )
        async with self._transaction() as connection:
            found = await connection.execute(words, (kind, list(names)))
            return {bytes(name): bytes(entry) for name, entry in await found.fetchall()}

    async def add_entries(self, kind: str, entries: Mapping[bytes, bytes]) -> None:
        """Add entries, all or none; one that is there already stays as it is."""
        rows = [(kind, name, entry) for name, entry in sorted(entries.items())]
        async with self._transaction() as connection, connection.cursor() as cursor:
            await cursor.executemany(_psql(sql.ADD_ENTRY), rows)

    async def drop_entries(self, kind: str, names: Iterable[bytes]) -> int:
        """Remove entries for good; return how many there were."""
        words = "DELETE FROM lumina_key_entry WHERE kind = %s AND name = ANY(%s)"
        async with self._transaction() as connection:
            return (await connection.execute(words, (kind, list(names)))).rowcount

    async def scan(self, kind: str) -> AsyncIterator[bytes]:
        """Yield every entry of a kind."""
        after, rows = b"", [(b"", b"")]
        while rows:
            async with self._transaction() as connection:
                found = await connection.execute(_psql(sql.SCAN), (kind, after))
                rows = await found.fetchall()
            for name, entry in rows:
                yield bytes(entry)
                after = bytes(name)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Yield the connection, which serves one transaction at a time."""
        async with self._lock:
            try:
                connection = await self._connected()
                async with connection.transaction():
                    yield connection
            except (psycopg.Error, OSError, TimeoutError) as error:
                await self.close()
                # Its words may hold the address with its password.
                kind = type(error).__name__
                raise KeysUnavailableError(
                    f"the database of the keystore does not answer ({kind})"
                ) from None

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=_TIMEOUT_SECONDS,
                options=f"-c statement_timeout={_TIMEOUT_SECONDS}s",
            )
            await _make_tables(self._connection)
        return self._connection

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _make_tables(connection: psycopg.AsyncConnection) -> None:
    """Make what is not there; a role that may not is fine where all is there."""
    there = await connection.execute("SELECT to_regclass('lumina_key_entry')")
    if (await there.fetchone() or (None,))[0] is not None:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for table in sql.SCHEMA:
            await connection.execute(table.format(bytes="BYTEA").encode())


def _psql(words: str) -> bytes:
    return words.format(p=_P).encode()
