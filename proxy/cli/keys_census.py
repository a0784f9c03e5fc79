"""``lumina-proxy keys census``: who still needs which key."""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from proxy.cli.keystore import fail, progress, run
from proxy.cli.loading import DEFAULT_POLICY, PolicyPath, read_policy
from proxy.core import key_changes
from proxy.core.census import Counting
from proxy.core.entries import SUBJECT, TOKEN
from proxy.core.errors import PolicyError
from proxy.core.key_records import Census, Document
from proxy.edge.keystore.changing import Where, changed

_PIECE = 1024 * 1024
_SQLITE = b"SQLite format 3\0"
_TABLES = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(relname), n_live_tup
    FROM pg_stat_user_tables WHERE relname NOT LIKE 'lumina\\_key%'
    ORDER BY 1
"""


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--policy",
    type=PolicyPath,
    envvar="POLICY",
    default=DEFAULT_POLICY,
    show_default=True,
    help="Where mail_domain says which addresses are ciphertexts. [POLICY]",
)
@click.option("--dry-run", is_flag=True, help="Count, and write nothing down.")
@click.option("--json", "as_json", is_flag=True, help="Print one document.")
def census(
    sources: Sequence[str], policy: Path, *, dry_run: bool, as_json: bool
) -> None:
    """Count the values under each key in SOURCES, and write that down.

    A source is a file (a dump as text, JSON, a SQLite database), - for standard input,
    or postgresql://… for every table of a database. Name all that the backend stores,
    backups too if they are to stay readable: a key whose count is zero can be
    destroyed.

    Tokens and subjects' keys, which the keystore itself holds, are counted besides.
    Values of the modes digits and pepper name no key and are not counted; nor is what
    is compressed.

    \b
    Examples:
        pg_dump lms | lumina-proxy keys census -
        lumina-proxy keys census postgresql://backup@db/lms archive.sql
    """  # noqa: D301 - the \b of click is a backspace
    begun = time.time()
    counting = Counting(_mail_domains(policy))
    run(lambda where: _count_entries(counting, where))
    for source in sources:
        _count(counting, source)
    shown = ", ".join(one.rpartition("@")[2] for one in sources)
    found = Census(at=int(begun), values=dict(counting.values), source=shown)
    document = None if dry_run else run(lambda where: _noted(where, found))
    if as_json:
        rows = {f"{key_id:08x}": n for key_id, n in sorted(found.values.items())}
        click.echo(json.dumps({"source": shown, "values": rows}, indent=2))
        return
    known = {record.id for record in document.keys} if document else set(found.values)
    for key_id, n in sorted(found.values.items()):
        stranger = "" if key_id in known else "  not a key of this keystore"
        click.echo(f"{key_id:08x}  {n} values{stranger}")
    if not found.values:
        click.echo("no value is encrypted")


async def _count_entries(counting: Counting, where: Where) -> None:
    """Count what the keystore itself has under its keys."""
    for kind in (TOKEN, SUBJECT):
        async for entry in where[0].scan(kind):
            counting.add(entry + b"\n")


async def _noted(where: Where, found: Census) -> Document:
    return (await changed(where, lambda d: key_changes.counted(d, found)))[1]


def _mail_domains(path: Path) -> set[str]:
    try:
        fields = read_policy(path, assume_secrets=True).policy.fields.values()
    except PolicyError as error:
        fail(f"{error}\nwithout a policy, addresses that are ciphertexts are missed")
    return {field.mail_domain for field in fields if field.mail_domain}


def _count(counting: Counting, source: str) -> None:
    if source.startswith(("postgresql://", "postgres://")):
        _count_all(counting, "Tables", _of_database, source)
    elif source == "-":
        _count_all(counting, "Standard input", _of_stream, sys.stdin.buffer)
    else:
        try:
            _count_all(counting, source, _of_file, Path(source))
        except (OSError, sqlite3.Error) as error:
            fail(f"{source}: {getattr(error, 'strerror', None) or error}")


def _count_all(
    counting: Counting, what: str, pieces: Callable[[Any], Iterator[bytes]], of: Any
) -> None:
    size = of.stat().st_size if isinstance(of, Path) else None
    done = 0
    with progress(what, size) as told:
        for piece in pieces(of):
            counting.add(piece)
            done += len(piece)
            told(done)
        counting.add(b"", last=True)


def _of_stream(stream: Any) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _of_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        beginning = file.read(len(_SQLITE))
        if beginning != _SQLITE:
            yield beginning
            yield from _of_stream(file)
            return
    # Not its bytes: a long value is cut in pieces there, and a deleted one is left.
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for line in connection.iterdump():
            yield line.encode() + b"\n"
    finally:
        connection.close()


def _of_database(url: str) -> Iterator[bytes]:
    import psycopg  # noqa: PLC0415 - slow to load, and seldom needed

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.read_only = True
            for table, _ in connection.execute(_TABLES.encode()).fetchall():
                copy = f"COPY (SELECT * FROM {table}) TO STDOUT"  # noqa: S608 - quoted
                with connection.cursor().copy(copy.encode()) as rows:
                    for piece in rows:
                        yield bytes(piece)
                yield b"\n"
    except psycopg.Error as error:
        fail(f"the database cannot be read ({type(error).__name__})")
