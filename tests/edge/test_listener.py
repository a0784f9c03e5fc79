"""The listener against clients that misbehave, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.core.errors import Refused
from proxy.core.headers import examine
from proxy.core.message import Request
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.sockets import bind
from proxy.edge.tunnels import Tunnels
from proxy.ports import Downstream
from tests.wire import Client, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

Answer = Callable[[Request, Downstream], Awaitable[None]]


class Handler:
    """Answers by a function, and notes what happened."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.cancelled = 0
        self.failures: list[BaseException] = []

    async def handle(self, request: Request, downstream: Downstream) -> None:
        """Note the request and answer it."""
        self.requests.append(request)
        try:
            examine(request.headers, request.version)
            await self.answer(request, downstream)
        except Refused as refused:
            self.reject(refused, downstream)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def reject(self, refused: Refused, downstream: Downstream) -> None:
        """Answer with the reason's slug as the body."""
        reason = refused.reason
        downstream.close_after_answer()
        downstream.send(reason.status, b"Refused", [], reason.slug.encode())


async def say_ok(_: Request, downstream: Downstream) -> None:
    """Answer at once."""
    downstream.send(200, b"OK", [], b"ok")


async def echo(request: Request, downstream: Downstream) -> None:
    """Answer with the request's body."""
    chunks = []
    while chunk := await request.body.read():
        chunks.append(chunk)
    downstream.send(200, b"OK", [], b"".join(chunks))


@contextlib.asynccontextmanager
async def listening(
    answer: Answer = say_ok, limits: WireLimits | None = None
) -> AsyncIterator[tuple[Listener, Handler]]:
    """Yield a listener on a free port, and its handler."""
    handler = Handler(answer)
    listener = Listener(
        handler,
        limits or WireLimits(),
        tunnels=Tunnels(),
        trusts=lambda address: address == "127.0.0.2",
        on_failure=handler.failures.append,
    )
    await listener.start(bind("127.0.0.1", 0))
    try:
        yield listener, handler
    finally:
        await listener.stop()
        assert not handler.failures


@contextlib.asynccontextmanager
async def connected(
    answer: Answer = say_ok, limits: WireLimits | None = None
) -> AsyncIterator[tuple[Client, Handler]]:
    """Yield a client of such a listener."""
    async with listening(answer, limits) as (listener, handler):
        client = await Client.connect(listener.port)
        try:
            yield client, handler
        finally:
            await client.close()


async def test_one_connection_carries_many_requests() -> None:
    """Keep-alive is the default of HTTP/1.1."""
    async with connected() as (client, handler):
        for _ in range(3):
            answer = await client.request(GET)
            assert (answer.status, answer.body) == (200, b"ok")
            assert "connection" not in answer

        assert len(handler.requests) == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that arrive together wait for each other, bodies included."""

    async def slowly(request: Request, downstream: Downstream) -> None:
        await asyncio.sleep(0)
        body = await request.body.read()
        downstream.send(200, b"OK", [], request.target.encode() + body)

    async with connected(slowly) as (client, _):
        await client.send(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
            b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n"
            b"GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"
        )

        bodies = [(await client.answer()).body for _ in range(4)]
        assert bodies == [b"/1", b"/2abc", b"/3abc", b"/4"]


async def test_a_very_long_pipeline_is_answered_up_to_its_bound() -> None:
    """What one read brings beyond the bound is not held in memory."""
    async with connected(limits=WireLimits(pipelined=8)) as (client, handler):
        await client.send(GET * 100)
        for _ in range(8):
            assert (await client.answer()).status == 200

        assert len(await client.rest()) == 0
        assert len(handler.requests) == 8


async def test_a_body_larger_than_any_buffer_is_streamed() -> None:
    """A handler sees all of a body that arrives in thousands of reads."""
    total = 5_000_000

    async def measure(request: Request, downstream: Downstream) -> None:
        size = 0
        while chunk := await request.body.read():
            size += len(chunk)
        downstream.send(200, b"OK", [], str(size).encode())

    async with connected(measure) as (client, _):
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total
        )
        await client.send(b"x" * total)

        assert (await client.answer()).body == str(total).encode()


@pytest.mark.parametrize(
    ("request_head", "framing"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "transfer-encoding"),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "connection"),
    ],
    ids=["chunks for 1.1", "until close for 1.0"],
)
async def test_an_answer_of_unknown_length(request_head: bytes, framing: str) -> None:
    """A length nobody knows is framed as the client's version can read it."""

    async def stream(_: Request, downstream: Downstream) -> None:
        downstream.start(200, b"OK", [], None)
        await downstream.write(b"one")
        await downstream.write(b"two")
        downstream.end()

    async with connected(stream) as (client, _):
        answer = await client.request(request_head)

        assert answer.body == b"onetwo"
        assert framing in answer


async def test_head_has_the_length_and_no_body() -> None:
    """HEAD is answered as GET would be, without the bytes."""
    async with connected() as (client, _):
        head = await client.request(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head=True)
        after = await client.request(GET)

        assert head["content-length"] == "2"
        assert after.body == b"ok"


async def test_204_has_neither_length_nor_body() -> None:
    """RFC 9110 section 8.6: no Content-Length with 204."""

    async def nothing(_: Request, downstream: Downstream) -> None:
        downstream.send(204, b"No Content", [], b"")

    async with connected(nothing) as (client, _):
        answer = await client.request(GET)

        assert "content-length" not in answer
        assert (await client.request(GET)).status == 204


@pytest.mark.parametrize(
    ("sent", "keeps"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: CLOSE, x\r\n\r\n", False),
    ],
    ids=["1.0", "1.0 keep-alive", "close", "close among others"],
)
async def test_connections_are_kept_or_closed_as_asked(
    sent: bytes, *, keeps: bool
) -> None:
    """The client's wish is followed and said."""
    async with connected() as (client, _):
        answer = await client.request(sent)

        assert answer.status == 200
        assert answer["connection"] == ("keep-alive" if keeps else "close")
        if not keeps:
            assert await client.rest() == b""


H = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
MALFORMED = [
    (
        "length and coding",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "coding and length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ),
    ("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n"),
    ("two equal lengths", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n"),
    ("a list of lengths", POST + b"Content-Length: 3, 3\r\n"),
    ("a signed length", POST + b"Content-Length: +3\r\n"),
    ("a negative length", POST + b"Content-Length: -3\r\n"),
    ("a hexadecimal length", POST + b"Content-Length: 0x3\r\n"),
    ("an enormous length", POST + b"Content-Length: 99999999999999999999\r\n"),
    ("gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked, gzip", POST + b"Transfer-Encoding: chunked, gzip\r\n"),
    ("identity", POST + b"Transfer-Encoding: identity\r\n"),
    ("xchunked", POST + b"Transfer-Encoding: xchunked\r\n"),
    (
        "chunked twice",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ),
    ("chunked with a tail", POST + b"Transfer-Encoding: chunked\x0b\r\n"),
    ("chunked in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"),
    ("a bare newline", b"GET / HTTP/1.1\nHost: a\n"),
    ("a bare newline in a head", H + b"X: y\nZ: w\r\n"),
    ("a bare return in a value", H + b"X: y\rz\r\n"),
    ("a folded line", H + b"X: y\r\n z\r\n"),
    ("a folded line by tab", H + b"X: y\r\n\tz\r\n"),
    ("NUL in a value", H + b"X: y\0z\r\n"),
    ("a control character in a value", H + b"X: y\x01z\r\n"),
    ("DEL in a value", H + b"X: y\x7fz\r\n"),
    ("a space before the colon", H + b"X : y\r\n"),
    ("NUL in a name", H + b"X\0: y\r\n"),
    ("an empty name", H + b": y\r\n"),
    ("no colon", H + b"nonsense\r\n"),
    ("a space before the first line", b"GET / HTTP/1.1\r\n Host: a\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n"),
    ("two Hosts", H + b"Host: b\r\n"),
    ("two equal Hosts", H + b"Host: a\r\n"),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n"),
    ("a list as Host", b"GET / HTTP/1.1\r\nHost: a, b\r\n"),
    ("a path in Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n"),
    ("a user in Host", b"GET / HTTP/1.1\r\nHost: u@a\r\n"),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n"),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n"),
    ("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n"),
    ("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n"),
    ("an unknown method", b"FOO / HTTP/1.1\r\nHost: a\r\n"),
    ("bytes beyond ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n"),
    ("NUL in the target", b"GET /a\0 HTTP/1.1\r\nHost: a\r\n"),
    ("a tab in the target", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n"),
    ("two Authorizations", H + b"Authorization: a\r\nAuthorization: b\r\n"),
    (
        "an upgrade with a body",
        POST + b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n",
    ),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32),
]


@pytest.mark.parametrize(
    "head", [head for _, head in MALFORMED], ids=[name for name, _ in MALFORMED]
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
async def test_what_can_be_read_in_two_ways_is_400_and_closed(
    head: bytes, *, bytewise: bool
) -> None:
    """RFC 9112: a message whose framing or syntax is doubtful goes nowhere."""
    async with connected(echo) as (client, _):
        sent = head + b"\r\n"
        parts = [bytes([byte]) for byte in sent] if bytewise else [sent]
        with contextlib.suppress(ConnectionError):
            for part in parts:
                await client.send(part)
                await asyncio.sleep(0)
        answer = await client.answer()

        assert (answer.status, answer.body) == (400, b"malformed-request")
        assert answer["connection"] == "close"
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff1\r\nabc\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_broken_chunks_are_400_and_closed(body: bytes) -> None:
    """A handler that reads such a body is told, and nothing is taken for another."""
    async with connected(echo) as (client, _):
        answer = await client.request(
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + body
        )

        assert (answer.status, answer["connection"]) == (400, "close")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (H + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (H + b"".join(b"X-%d: y\r\n" % n for n in range(101)) + b"\r\n", 431),
        (b"GET /" + b"y" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"y" * 40_000, 431),
    ],
    ids=["bytes", "lines", "target", "an endless target"],
)
async def test_heads_past_the_limits(sent: bytes, status: int) -> None:
    """A head has a bounded size, whatever it is made of."""
    async with connected() as (client, handler):
        with contextlib.suppress(ConnectionError):
            await client.send(sent)
        answer = await client.answer()

        assert status == answer.status
        if status == 431:
            assert await client.rest() == b""
        assert not handler.cancelled


async def test_an_upgrade_is_declined_by_an_ordinary_answer() -> None:
    """RFC 9110 section 7.8: a server may ignore Upgrade; the connection goes on."""
    async with connected() as (client, _):
        await client.send(H + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n" + GET)

        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200


async def test_100_is_sent_when_the_body_is_wanted() -> None:
    """A client that waits is asked, once, and only if somebody reads."""
    async with connected(echo) as (client, _):
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.answer()).status == 100
        answer = await client.request(b"abc")

        assert (answer.status, answer.body) == (200, b"abc")


async def test_an_early_answer_to_a_waiting_client_closes() -> None:
    """Without 100, the body that never came is not mistaken for a request."""
    async with connected() as (client, _):
        answer = await client.request(
            POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )

        assert (answer.status, answer["connection"]) == (200, "close")


async def test_an_early_answer_survives_the_rest_of_the_upload() -> None:
    """Lingering: the answer is not lost to a reset while the client still sends."""
    async with connected() as (client, _):
        await client.send(POST + b"Content-Length: 3000000\r\n\r\n")
        answer = await client.answer()
        with contextlib.suppress(ConnectionError):
            await client.send(b"x" * 3_000_000)

        assert (
            answer.status,
            answer.body,
            answer["connection"],
        ) == (200, b"ok", "close")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HT", 408),
        (POST + b"Content-Length: 3\r\n\r\nab", 408),
        (b"", None),
    ],
    ids=["half a head", "half a body", "nothing"],
)
async def test_slow_clients_are_answered_or_closed(
    sent: bytes, status: int | None
) -> None:
    """Every wait for a client ends."""
    quick = WireLimits(head_seconds=0.2, body_seconds=0.2, idle_seconds=0.2)
    async with connected(echo, quick) as (client, _):
        await client.send(sent)
        if status is not None:
            assert (await client.answer()).status == status

        assert await client.rest() == b""


UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


async def test_a_body_that_trickles_is_ended() -> None:
    """Each byte comes in time, and all of them come too slowly."""
    limits = WireLimits(body_seconds=0.3, body_rate=1000)
    async with connected(echo, limits) as (client, _):
        await client.send(UPLOAD)
        refusal, sent = asyncio.ensure_future(client.answer()), 0
        while not refusal.done() and sent < 400:
            await client.send(b"x")
            sent += 1
            await asyncio.wait([refusal], timeout=0.02)

        assert (await refusal).body == b"request-timeout"
        assert sent < 100


async def test_a_body_at_its_rate_is_not_ended() -> None:
    """However long it takes in all; and however long it rests, within its credit."""
    limits = WireLimits(body_seconds=0.3, body_rate=1000)
    async with connected(echo, limits) as (client, _):
        await client.send(UPLOAD.replace(b"100000", b"8000"))
        for _ in range(8):
            await client.send(b"x" * 1000)
            await asyncio.sleep(0.15)

        answer = await client.answer()
        assert (answer.status, len(answer.body)) == (200, 8000)


async def test_a_client_does_not_pay_for_the_time_it_waits() -> None:
    """While nobody reads its body, its credit stays as it is."""

    async def slowly(request: Request, downstream: Downstream) -> None:
        size = 0
        while chunk := await request.body.read():
            size += len(chunk)
            await asyncio.sleep(0.25)
        downstream.send(200, b"OK", [], str(size).encode())

    limits = WireLimits(body_seconds=0.2, body_rate=1_000_000)
    async with connected(slowly, limits) as (client, _):
        await client.send(UPLOAD)
        for _ in range(4):
            await client.send(b"x" * 25_000)
            await asyncio.sleep(0.1)

        assert (await client.answer()).body == b"100000"


async def test_a_client_that_trickles_a_head_is_not_given_more_time() -> None:
    """The time for a head counts from its first byte (slow loris)."""
    quick = WireLimits(head_seconds=0.3)
    async with connected(limits=quick) as (client, _):
        loop = asyncio.get_running_loop()
        until = loop.time() + 5
        with contextlib.suppress(ConnectionError):
            while loop.time() < until and not client.reader.at_eof():
                await client.send(b"X")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await client.reader.read(1)
                        break

        assert loop.time() < until


async def test_a_client_that_leaves_cancels_its_request() -> None:
    """Nothing goes on for a client that is gone."""
    started = asyncio.Event()

    async def forever(_: Request, __: Downstream) -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    async with listening(forever) as (listener, handler):
        client = await Client.connect(listener.port)
        await client.send(GET)
        await started.wait()
        client.reset()

        await eventually(lambda: handler.cancelled == 1)
        await eventually(lambda: listener.connections == 0)


async def test_a_client_that_closed_is_not_served_for_long() -> None:
    """A close and a half-close look alike; the one that lasts is taken for a close."""

    async def forever(_: Request, __: Downstream) -> None:
        await asyncio.get_running_loop().create_future()

    quick = WireLimits(half_close_seconds=0.1, linger_seconds=0.2)
    async with listening(forever, quick) as (listener, handler):
        client = await Client.connect(listener.port)
        await client.send(GET)
        await eventually(lambda: len(handler.requests) == 1)
        await client.close()

        await eventually(lambda: handler.cancelled == 1)
        await eventually(lambda: listener.connections == 0)


async def test_a_half_closed_client_is_answered() -> None:
    """Whoever closes only its sending side gets its answer."""
    go_on = asyncio.Event()

    async def later(_: Request, downstream: Downstream) -> None:
        await go_on.wait()
        downstream.send(200, b"OK", [], b"ok")

    async with connected(later) as (client, handler):
        await client.send(GET)
        client.writer.write_eof()
        await eventually(lambda: len(handler.requests) == 1)
        go_on.set()
        answer = await client.answer()

        assert (answer.status, answer["connection"]) == (200, "close")


async def test_a_client_that_does_not_read_stops_the_answer() -> None:
    """Back-pressure: a slow reader makes the handler wait, then loses its turn."""
    written = 0

    async def flood(_: Request, downstream: Downstream) -> None:
        nonlocal written
        downstream.start(200, b"OK", [], None)
        while True:
            await downstream.write(b"x" * 65536)
            written += 65536

    limits = WireLimits(write_seconds=0.3, linger_seconds=0.2)
    async with connected(flood, limits) as (client, handler):
        await client.send(GET)

        await eventually(lambda: handler.cancelled == 1)
        assert 0 < written < 50_000_000


async def test_draining_closes_idle_connections_and_finishes_busy_ones() -> None:
    """A drain loses no request."""
    go_on = asyncio.Event()

    async def later(_: Request, downstream: Downstream) -> None:
        await go_on.wait()
        downstream.send(200, b"OK", [], b"ok")

    async with listening(later) as (listener, handler):
        idle = await Client.connect(listener.port)
        busy = await Client.connect(listener.port)
        await busy.send(GET)
        await eventually(lambda: len(handler.requests) == 1)
        draining = asyncio.ensure_future(listener.drain(5.0))

        assert await idle.rest() == b""
        go_on.set()
        answer = await busy.answer()
        await draining

        assert (answer.status, answer["connection"]) == (200, "close")
        assert listener.connections == 0
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await Client.connect(listener.port or 1)
        await idle.close()
        await busy.close()


async def test_many_upgrades_in_one_read_are_requests_like_others() -> None:
    """Each is answered before what is behind it is parsed, and the stack stays flat."""
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    async with connected(limits=WireLimits(pipelined=8)) as (client, handler):
        await client.send(upgrade * 3000)
        await eventually(lambda: len(handler.requests) == 3000)

        assert all(request.upgradable for request in handler.requests)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "framing",
    [
        b"0\r\nA: " + b"x" * 400_000,
        b"0\r\n" + b"A: x\r\n" * 70_000,
        b"1;" + b"e" * 400_000,
    ],
    ids=["a trailer", "trailers", "a chunk extension"],
)
async def test_framing_without_end_is_not_collected(framing: bytes) -> None:
    """What is no body of a body has the bound of a head."""
    async with connected(echo) as (client, handler):
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + framing
        )

        assert (await client.answer()).body == b"headers-too-large"
        assert await client.rest() == b""
        assert len(handler.requests) == 1


async def test_framing_without_end_is_bounded_before_anybody_reads() -> None:
    """A handler that waits for something else does not keep it coming."""
    go_on = asyncio.Event()

    async def later(request: Request, downstream: Downstream) -> None:
        await go_on.wait()
        await echo(request, downstream)

    async with connected(later) as (client, _):
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "
        )
        for _ in range(20):
            await client.send(b"x" * 50_000)
        go_on.set()

        assert (await client.answer()).body == b"headers-too-large"


async def test_requests_before_a_half_close_are_all_answered() -> None:
    """They were whole when the client said that it has no more."""

    async def later(_: Request, downstream: Downstream) -> None:
        await asyncio.sleep(0)
        downstream.send(200, b"OK", [], b"ok")

    async with connected(later) as (client, handler):
        await client.send(GET * 3)
        client.writer.write_eof()
        answers = [await client.answer() for _ in range(3)]

        assert [answer.status for answer in answers] == [200] * 3
        assert answers[-1]["Connection"] == "close"
        assert await client.rest() == b""
        assert len(handler.requests) == 3


async def test_http_1_0_is_not_told_to_continue() -> None:
    """It knows no interim answers (RFC 9110 section 10.1.1)."""
    async with connected(echo) as (client, _):
        await client.send(
            b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        await client.send(b"ab")

        assert (await client.answer()).body == b"ab"


@pytest.mark.parametrize(
    "line", [b"PLAY / RTSP/1.0", b"SOURCE / ICE/1.0", b"DESCRIBE / HTTP/1.1"]
)
async def test_other_protocols_are_not_served(line: bytes) -> None:
    """Llhttp reads their methods; they are not HTTP's."""
    async with connected() as (client, handler):
        await client.send(line + b"\r\nHost: a\r\n\r\n")

        assert (await client.answer()).body == b"malformed-request"
        assert not handler.requests
