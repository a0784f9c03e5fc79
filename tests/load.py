"""Clients that keep asking, and note each request that was not answered."""

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator

from tests.wire import Client, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclasses.dataclass
class Load:
    """What came of the requests so far.

    Attributes:
        statuses: how many answers had each status.
        failed: requests that were sent and not answered whole, in words.
        refused: connections that were not taken.
        announced: answers that said that they are the last one of their connection.
    """

    statuses: Counter[int] = dataclasses.field(default_factory=Counter)
    failed: list[str] = dataclasses.field(default_factory=list)
    refused: int = 0
    announced: int = 0
    stopping: bool = False

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return sum(self.statuses.values())

    async def more(self, count: int) -> None:
        """Wait until that many more requests are answered."""
        enough = self.answered + count
        await eventually(lambda: self.answered >= enough)


async def _converse(client: Client, load: Load, request: bytes) -> None:
    """Ask on one connection until an answer says that it is the last one."""
    while not load.stopping:
        try:
            answer = await client.request(request)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            load.failed.append(repr(error))
            return
        if not answer.complete:
            load.failed.append(f"{len(answer.body)} bytes of an answer")
            return
        load.statuses[answer.status] += 1
        if "connection" in answer and answer["connection"] == "close":
            load.announced += 1
            return


async def _ask(port: int, load: Load, request: bytes) -> None:
    while not load.stopping:
        try:
            client = await Client.connect(port)
        except ConnectionError:
            load.refused += 1
            await asyncio.sleep(0.01)
            continue
        try:
            await _converse(client, load, request)
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def under_load(
    port: int, clients: int = 8, request: bytes = GET
) -> AsyncIterator[Load]:
    """Have clients that ask, one request after the other, each on its connection."""
    load = Load()
    tasks = [asyncio.create_task(_ask(port, load, request)) for _ in range(clients)]
    try:
        await load.more(clients)
        yield load
    finally:
        load.stopping = True
        await asyncio.gather(*tasks)
