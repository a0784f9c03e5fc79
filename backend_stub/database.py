"""SQLite behind one thread, so that the event loop never waits for the disk.

Knows the tables and nothing of HTTP beyond the key it is stored under.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")
Row = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS pathways (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    steps TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS assessments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    difficulty TEXT NOT NULL,
    questions TEXT NOT NULL,
    score REAL
);
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    embedding TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Written:
    """What a statement changed: the last new row's id and the rows touched."""

    row_id: int
    rows: int


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


class Database:
    """One connection, used only by the one thread that opened it."""

    def __init__(self, path: Path):
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self.path)
        return self._connection

    async def open(self) -> None:
        """Create the tables that are missing.

        Raises:
            sqlite3.Error: the file cannot be opened or is not a database.
        """
        await self._call(self._open)

    async def close(self) -> None:
        """Close the connection and end its thread; a second call does nothing."""
        if self._connection is not None:
            await self._call(self._connection.close)
            self._connection = None
        self._thread.shutdown()

    async def rows(self, sql: str, *values: object) -> list[Row]:
        """Return every row a query selects."""

        def work() -> list[Row]:
            return [dict(row) for row in self._open().execute(sql, values)]

        return await self._call(work)

    async def row(self, sql: str, *values: object) -> Row | None:
        """Return a query's first row, or None when it selects nothing."""
        found = await self.rows(sql, *values)
        return found[0] if found else None

    async def write(self, sql: str, *values: object) -> Written:
        """Run one statement in a transaction of its own.

        Raises:
            sqlite3.IntegrityError: the statement breaks a constraint.
        """

        def work() -> Written:
            cursor = self._open().execute(sql, values)
            return Written(cursor.lastrowid or 0, cursor.rowcount)

        return await self._call(work)


DATABASE = web.AppKey("database", Database)
