"""Clients that misbehave, seen from both sides of the whole proxy.

Whatever a client does, it is answered once or not at all, the backend hears of it only
what is whole, others are served meanwhile, and nothing is left: ``whole_proxy`` looks
for tasks and sockets when it ends.
"""

import asyncio
import contextlib

import pytest

from proxy.edge.limits import WireLimits
from tests.whole_proxy import WholeProxy, client_of, token, whole_proxy
from tests.wire import Client, eventually

QUICK = WireLimits(
    head_seconds=0.3,
    idle_seconds=0.3,
    body_seconds=0.3,
    write_seconds=0.3,
    half_close_seconds=0.3,
    linger_seconds=0.3,
)
GET = b"GET /open/x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /open/x HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Backend:
    """A backend that reads whole requests, and notes them.

    Attributes:
        bodies: of the requests that were whole.
        begun: how many heads there were.
    """

    def __init__(self, answer: bytes = OK) -> None:
        self.bodies: list[bytes] = []
        self.begun = 0
        self._answer = answer

    async def play(self, client: Client) -> None:
        """Read requests, and answer each."""
        while True:
            head = (await client.reader.readuntil(b"\r\n\r\n")).lower()
            self.begun += 1
            body = b""
            if b"chunked" in head:
                while size := int(await client.reader.readuntil(b"\r\n"), 16):
                    body += (await client.reader.readexactly(size + 2))[:-2]
                await client.reader.readuntil(b"\r\n")
            elif b"content-length: " in head:
                length = head.split(b"content-length: ")[1].split(b"\r\n")[0]
                body = await client.reader.readexactly(int(length))
            self.bodies.append(body)
            await client.send(self._answer)


async def still_serves(proxy: WholeProxy) -> None:
    """Assert that another client is served."""
    async with client_of(proxy) as another:
        assert (await another.request(GET)).status == 200


MALFORMED: dict[str, tuple[bytes, int]] = {
    "garbage": (b"\x00\x01\x02\x03 what is this\r\n\r\n", 400),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "SMTP": (b"EHLO example.org\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 400),
    "lengths that differ": (
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        400,
    ),
    "a length and a coding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding that nobody knows": (
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\nhi", 400),
    "a length in hex": (POST + b"Content-Length: 0x2\r\n\r\nhi", 400),
    "a length without end": (POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "a bad chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n", 400),
    "a chunk that is too long": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
        400,
    ),
    "a chunk size with a sign": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n",
        400,
    ),
    "a CR in a field": (b"GET /open/x HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    "a NUL in a field": (b"GET /open/x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    "a NUL in the path": (b"GET /open/\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bare newlines": (b"GET /open/x HTTP/1.1\nHost: a\n\n", 400),
    "a space before the colon": (
        b"GET /open/x HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        400,
    ),
    "a line that goes on": (
        b"GET /open/x HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        400,
    ),
    "100 fields of 8 KiB": (
        b"GET /open/x HTTP/1.1\r\nHost: a\r\n"
        + b"X: %b\r\n" % (b"x" * 8192) * 100
        + b"\r\n",
        431,
    ),
    "one field of 1 MiB": (
        b"GET /open/x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (1 << 20),
        431,
    ),
    "a path of 1 MiB": (b"GET /" + b"x" * (1 << 20), 431),
    "a body behind an upgrade": (
        POST + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi",
        400,
    ),
}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_what_is_malformed_is_answered_once(sent: bytes, status: int) -> None:
    """What follows it on the connection is dropped; no backend hears a whole of it."""
    backend = Backend()
    async with whole_proxy(backend.play, limits=QUICK) as proxy:
        async with client_of(proxy) as client:
            with contextlib.suppress(ConnectionError):
                await client.send(sent + GET)
            answered = await client.rest()
        await proxy.settled()

        assert answered.startswith(b"HTTP/1.1 %d " % status)
        assert answered.count(b"HTTP/1.1 ") == 1
        assert backend.bodies == []
        await still_serves(proxy)
        await eventually(lambda: proxy.listener.connections == 0)


SLOW: dict[str, tuple[list[bytes], bytes]] = {
    "nothing at all": ([], b""),
    "half a head": ([b"GET /open/x HT"], b"HTTP/1.1 408 "),
    "a head that trickles": ([b"%c" % byte for byte in GET * 9], b"HTTP/1.1 408 "),
    "no body": ([POST + b"Content-Length: 9\r\n\r\n"], b"HTTP/1.1 408 "),
    "half a body": ([POST + b"Content-Length: 9\r\n\r\n", b"half"], b"HTTP/1.1 408 "),
    "a body that trickles": (
        [POST + b"Content-Length: 99\r\n\r\n", *[b"x"] * 60],
        b"HTTP/1.1 408 ",
    ),
    "half a chunk": (
        [POST + b"Transfer-Encoding: chunked\r\n\r\n", b"9\r\nhalf"],
        b"HTTP/1.1 408 ",
    ),
    "trailers that trickle": (
        [
            POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
            *[b"T: t\r\n"] * 60,
        ],
        b"HTTP/1.1 408 ",
    ),
}


@pytest.mark.parametrize(("parts", "answer"), SLOW.values(), ids=SLOW)
async def test_who_is_too_slow_is_ended(parts: list[bytes], answer: bytes) -> None:
    """In bounded time, with a word if there was a request, and nobody waits for it."""
    backend = Backend()
    async with whole_proxy(backend.play, limits=QUICK) as proxy:
        async with client_of(proxy) as client:
            ended = asyncio.ensure_future(client.rest())
            for part in parts:
                with contextlib.suppress(ConnectionError):
                    await client.send(part)
                await asyncio.wait([ended], timeout=0.02)
            await still_serves(proxy)

            assert (await ended).startswith(answer)
        await proxy.settled()
        assert backend.bodies == [b""]


WHOLE: dict[str, bytes] = {
    "a request without a body": GET,
    "a length": POST + b"Content-Length: 4\r\n\r\nbody",
    "chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n"
    ),
    "two requests": GET + GET,
}


@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_a_client_may_leave_after_any_byte(sent: bytes, how: str) -> None:
    """The backend is asked for what was whole at the most, and never told half as it.

    After a reset or a close nobody is there for the answer, so it may come to nothing.
    """
    backend = Backend()
    async with whole_proxy(backend.play, limits=QUICK) as proxy:
        for cut in range(len(sent) + 1):
            client = await Client.connect(proxy.port)
            await client.send(sent[:cut])
            if how == "reset":
                client.reset()
            elif how == "close":
                await client.close()
            else:
                client.writer.write_eof()
                answered = await client.rest()
                whole = answered.count(b"HTTP/1.1 200 ")
                if cut == len(sent):
                    assert whole == max(1, sent.count(b"GET"))
                await client.close()
        await proxy.settled()
        await still_serves(proxy)

    assert set(backend.bodies) <= {b"", b"body"}
    assert all(exchange.status != 500 for exchange in proxy.seen.exchanges)


@pytest.mark.parametrize("how", ["reset", "close", "stops reading"])
async def test_a_client_that_leaves_its_answer_ends_the_exchange(how: str) -> None:
    """The backend is not read any further for somebody who takes nothing."""
    ended = asyncio.Event()

    async def endless(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        try:
            await client.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await client.send(b"x" * 65536)
        finally:
            ended.set()

    async with whole_proxy(endless, limits=QUICK) as proxy:
        client = await Client.connect(proxy.port)
        await client.send(GET)
        await client.reader.readexactly(100_000)
        if how == "reset":
            client.reset()
        elif how == "close":
            await client.close()
        else:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await ended.wait()
        await proxy.settled()
        await client.close()

        assert [exchange.aborted for exchange in proxy.seen.exchanges] == [True]


async def test_a_client_that_leaves_while_the_backend_thinks_stops_it() -> None:
    """The connection to the backend is closed: nobody wants the answer."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def thinks(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        asked.set()
        with contextlib.suppress(ConnectionError):
            await client.reader.read()
        left.set()

    async with whole_proxy(thinks) as proxy:
        client = await Client.connect(proxy.port)
        await client.send(GET)
        await asked.wait()
        client.reset()
        await left.wait()
        await proxy.settled()

        assert [exchange.aborted for exchange in proxy.seen.exchanges] == [True]


async def test_clients_that_leave_together_leave_nothing() -> None:
    """Two hundred at once, at every stage of a request, a tunnel among them."""
    backend = Backend()
    upgrade = (
        b"GET /room HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
        b"Upgrade: websocket\r\nAuthorization: Bearer %b\r\n\r\n" % token().encode()
    )
    stages = [b"", b"GET /op", GET, POST + b"Content-Length: 9\r\n\r\nhal", upgrade]
    async with whole_proxy(backend.play, limits=QUICK) as proxy:
        clients = [await Client.connect(proxy.port) for _ in range(200)]
        for number, client in enumerate(clients):
            await client.send(stages[number % len(stages)])
        for client in clients:
            client.reset()
        await proxy.settled()
        await still_serves(proxy)
