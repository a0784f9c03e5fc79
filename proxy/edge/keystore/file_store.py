"""A keystore in a file: SQLite, so that commands and processes may write at once.

``secure_delete`` overwrites what is deleted: a forgotten key is not left in a free page
of the file. A copy of the file is a backup of the keystore.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from proxy.edge.keystore import sql
from proxy.edge.keystore.ports import KeysUnavailableError

T = TypeVar("T")

_WAIT_SECONDS = 5.0
_P = "?"


class FileStore:
    """Keeps everything in one file.

    Args:
        path: of the file; it is made, for its owner only, when something is saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> bytes | None:
        """Return the document; None before there is one.

        Raises:
            KeysUnavailableError: the file cannot be read, or is another one.
        """
        if not self._path.exists():
            return None

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(sql.LOAD).fetchone()
            return None if row is None else bytes(row[0])

        return await self._run(read)

    async def save(self, document: bytes, revision: int) -> bool:
        """Put a document in the place of the one with the revision below its own."""

        def write(connection: sqlite3.Connection) -> bool:
            values: tuple[int | bytes, ...] = revision, document
            words = sql.INSERT
            if revision > 1:
                words, values = sql.REPLACE, (*values, revision - 1)
            return connection.execute(words.format(p=_P), values).rowcount == 1

        return await self._run(write)

    async def count(self, used: Mapping[int, int]) -> dict[int, int]:
        """Add to the encryptions under each key; return all of them."""

        def add(connection: sqlite3.Connection) -> dict[int, int]:
            connection.executemany(sql.USE.format(p=_P), list(used.items()))
            return dict(connection.execute(sql.USED).fetchall())

        return await self._run(add)

    async def entries(self, kind: str, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of a kind that are there, of those asked for."""

        def read(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            words, found = sql.ENTRY.format(p=_P), {}
            for name in names:
                row = connection.execute(words, (kind, name)).fetchone()
                if row is not None:
                    found[name] = bytes(row[0])
            return found

        return await self._run(read)

    async def add_entries(self, kind: str, entries: Mapping[bytes, bytes]) -> None:
        """Add entries, all or none; one that is there already stays as it is."""
        rows = [(kind, name, entry) for name, entry in entries.items()]
        await self._run(lambda c: c.executemany(sql.ADD_ENTRY.format(p=_P), rows))

    async def drop_entries(self, kind: str, names: Iterable[bytes]) -> int:
        """Remove entries for good; return how many there were."""
        rows = [(kind, name) for name in names]
        words = sql.DROP_ENTRY.format(p=_P)
        return await self._run(lambda c: c.executemany(words, rows).rowcount)

    async def scan(self, kind: str) -> AsyncIterator[bytes]:
        """Yield every entry of a kind."""
        words, after = sql.SCAN.format(p=_P), b""

        def page(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return connection.execute(words, (kind, after)).fetchall()

        while rows := await self._run(page):
            for name, entry in rows:
                yield bytes(entry)
                after = bytes(name)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._connection() as connection:
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise KeysUnavailableError(f"{self._path}: {why}") from None

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction, for one thread."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
        try:
            connection.execute("PRAGMA secure_delete = ON")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for table in sql.SCHEMA:
                    connection.execute(table.format(bytes="BLOB"))
                yield connection
        finally:
            connection.close()

    async def close(self) -> None:
        """Do nothing: no connection outlives its use."""
