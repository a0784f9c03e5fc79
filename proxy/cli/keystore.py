"""How commands reach the keystore: by the variables that the proxy reads."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import NoReturn, TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from proxy.core.key_records import Document, KeystoreError
from proxy.edge.keystore.changing import Where
from proxy.edge.keystore.configured import open_keks, open_store
from proxy.edge.keystore.ports import KeysUnavailableError
from proxy.settings import Environment

T = TypeVar("T")

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class Duration(click.ParamType[float]):
    """Seconds, written with their unit: 90s, 15m, 1h, 365d; 0s for never."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value))
        if not found:
            self.fail(
                "a number and its unit was expected: 90s, 15m, 1h, 365d", param, ctx
            )
        return float(int(found[1]) * SECONDS[found[2]])


class KeyId(click.ParamType[int]):
    """The id of a key, as ciphertexts, metrics and `keys list` name it."""

    name = "key"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number."""
        text = str(value).lower()
        if not _KEY_ID.fullmatch(text):
            self.fail("eight hex digits were expected, see `keys list`", param, ctx)
        return int(text, 16)


def environment() -> Environment:
    """Return the environment with files."""
    return Environment(os.environ)


def run(work: Callable[[Where], Awaitable[T]]) -> T:
    """Do something with the keystore, or exit and say in one line what was wrong."""

    async def done() -> T:
        variables = environment()
        url = variables.get("KEYSTORE", "")
        if not url:
            raise KeystoreError(
                "KEYSTORE is not set: a file, redis://… or postgresql://…"
            )
        where = open_store(url), open_keks(variables)
        try:
            return await work(where)
        finally:
            for one in where:
                await one.close()

    try:
        return asyncio.run(done())
    except (KeystoreError, KeysUnavailableError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print what was wrong, and exit 1."""
    click.secho(message, fg="red", err=True)
    sys.exit(1)


@contextlib.contextmanager
def progress(what: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Show a bar on a terminal; yield what is told how much is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)


def age(seconds: float) -> str:
    """Return a duration for people: its largest unit, rounded down."""
    for unit in ("d", "h", "m"):
        if seconds >= SECONDS[unit]:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    return f"{int(seconds)}s"


def promotion_of(document: Document, key_id: int) -> str:
    """Say when a pending key may become primary."""
    record = document.key(key_id)
    at = record.since + document.bound
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    return (
        f"key {record.name} is pending: every replica learns of it by {when}. Then the "
        f"proxies promote it, or `lumina-proxy keys promote {record.name}` does"
    )
