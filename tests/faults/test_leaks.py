"""A hundred thousand requests, well and ill, and what is left of them: nothing.

The proxy runs as it is deployed, in a process of its own; we look at it from outside.
"""

import asyncio
import contextlib
import dataclasses
import re
import time
from pathlib import Path
from typing import cast

import psutil
import pytest

from tests.proxy_process import ProxyProcess, proxy_process
from tests.wire import DEADLINE, Client

REQUESTS = 100_000
REMEMBERED = 10_000
"""Refusals that the proxy remembers: what fills up to a bound is no leak."""
CONNECTIONS = 8
BLOCK = 50
"""Requests that are sent at once: fewer than a connection may be ahead."""
MOST_GROWTH = 3 * 1024 * 1024
"""Bytes: 31 a request. What one leaves behind by mistake is larger than that."""

POLICY = """\
version: 1
backends: {lms: {servers: ["${BACKEND_URL}"]}}
limits: {few: {rate: 1000000/second, per: client}}
rules:
  - {id: open, match: "* /open", allow: anyone, limits: [few]}
  - {id: hall, match: GET /hall, allow: anyone, upgrade: [websocket]}
"""

GET = b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = (
    b"GET /hall HTTP/1.1\r\nHost: a\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCHED = (
    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
)
WELL = [GET, POST, NOWHERE, GET]
ILL = [
    b"garbage\r\n\r\n",
    b"GET /open HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    GET[:20],
    UPGRADE,
]


class Backend(asyncio.Protocol):
    """A backend that answers fast, and now and then breaks its promises."""

    asked = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        transport = self._transport
        assert transport is not None
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, rest = self._buffer.split(b"\r\n\r\n", 1)
            if b"Content-Length: 4" in head:
                if len(rest) < 4:
                    return
                rest = rest[4:]
            self._buffer = rest
            Backend.asked += 1
            if b"pgrade: websocket" in head:
                transport.write(SWITCHED)
            elif Backend.asked % 500 == 0:
                transport.write(OK[:30])
                transport.abort()
                return
            elif Backend.asked % 333 == 0:
                transport.write(OK + b"more")
            else:
                transport.write(OK)


async def ask(port: int, requests: int, well: list[bytes]) -> int:
    """Send requests in blocks on one connection after another; return how many."""
    sent = 0
    while sent < requests:
        client = await Client.connect(port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for number in range(20):
                block = [well[(number + at) % len(well)] for at in range(BLOCK)]
                await client.send(b"".join(block))
                sent += BLOCK
                for _ in block:
                    head = await client.reader.readuntil(b"\r\n\r\n")
                    size = re.search(rb"(?i)content-length: (\d+)", head)
                    assert size is not None
                    await client.reader.readexactly(int(size[1]))
            await client.send(ILL[sent // BLOCK % len(ILL)])
            sent += 1
            if sent % 2:
                await client.reader.read(100)
        client.reset()
    return sent


async def load(port: int, requests: int, well: list[bytes]) -> int:
    """Send requests on several connections at once; return how many there were."""
    each = [ask(port, requests // CONNECTIONS, well) for _ in range(CONNECTIONS)]
    return sum(await asyncio.gather(*each))


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a proxy at rest holds."""

    memory: int
    descriptors: int
    clients: float
    tunnels: float
    bugs: float


def measured(proxy: ProxyProcess, process: psutil.Process) -> Measured:
    """Wait until no client is left, and look."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and metric(proxy, "lumina_downstream_connections"):
        time.sleep(0.05)
    return Measured(
        process.memory_info().rss,
        process.num_fds(),
        metric(proxy, "lumina_downstream_connections"),
        metric(proxy, "lumina_tunnels_open"),
        metric(proxy, "lumina_internal_errors_total"),
    )


def metric(proxy: ProxyProcess, name: str) -> float:
    """Return the sum of a family's samples."""
    _, text = proxy.ask("/metrics")
    rows = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", str(text), re.MULTILINE)
    return sum(map(float, rows))


@pytest.mark.timeout(240)
async def test_nothing_grows_over_100_000_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays where it was when warm; no socket, descriptor or tunnel is left."""
    # What measures coverage keeps notes in the process that is measured here.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Backend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
        process = psutil.Process(proxy.process.pid)

        await load(proxy.data, REMEMBERED, [NOWHERE])
        await load(proxy.data, REMEMBERED, WELL)
        before = await asyncio.to_thread(measured, proxy, process)
        sent = await load(proxy.data, REQUESTS, WELL)
        after = await asyncio.to_thread(measured, proxy, process)
    server.close()

    assert sent >= REQUESTS
    assert after.memory - before.memory < MOST_GROWTH
    assert after.clients == before.clients == 0
    assert after.tunnels == before.tunnels == 0
    assert after.descriptors <= before.descriptors + CONNECTIONS
    assert after.bugs == 0
