"""The upstream pool against backends that misbehave, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from proxy.core.backends import Breaker, Server, Timeouts
from proxy.core.errors import Refused
from proxy.core.message import Response
from proxy.core.reasons import Reason
from proxy.edge.body import BodyStream
from proxy.edge.pool import Pool, may_retry
from tests.wire import Client, Script, backend, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAST = Timeouts(connect=1.0, first_byte=0.2, idle=0.3)
PATIENT = Timeouts(connect=5.0, first_byte=5.0, idle=5.0)


@contextlib.asynccontextmanager
async def a_pool(
    script: Script, timeouts: Timeouts = PATIENT, most: int = 16
) -> AsyncIterator[Pool]:
    """Yield a pool in front of a scripted backend, its deadlines being watched."""
    async with backend(script) as port:
        pool = Pool(
            Server(host="127.0.0.1", port=port),
            timeouts,
            Breaker(connections=most, pending=most),
        )
        loop = asyncio.get_running_loop()
        handle = loop.call_soon(lambda: None)

        def watch() -> None:
            nonlocal handle
            pool.sweep(loop.time())
            handle = loop.call_later(0.02, watch)

        watch()
        try:
            yield pool
        finally:
            handle.cancel()
            await pool.close()


async def ask(pool: Pool, method: str = "GET", head: bytes = GET) -> Response:
    """Exchange one request without a body."""
    return await pool.exchange(method, head, b"", pool.timeouts)


async def whole(response: Response) -> bytes:
    """Read the whole body of an answer."""
    chunks = []
    while chunk := await response.body.read():
        chunks.append(chunk)
    return b"".join(chunks)


async def answer_forever(client: Client) -> None:
    """Answer every request with OK."""
    while True:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(OK)


async def test_an_answer_is_returned_and_the_connection_used_again() -> None:
    """Two requests in a row share one connection."""
    async with a_pool(answer_forever) as pool:
        first = await ask(pool)
        assert (
            first.status,
            first.phrase,
            first.length,
            await whole(first),
        ) == (200, b"OK", 2, b"ok")
        second = await ask(pool)

        assert await whole(second) == b"ok"
        assert (len(pool.all), len(pool.idle), pool.busy) == (1, 1, 0)


async def test_concurrent_requests_have_a_connection_each() -> None:
    """One exchange at a time on a connection."""
    async with a_pool(answer_forever) as pool:
        answers = await asyncio.gather(*(ask(pool) for _ in range(8)))

        assert [answer.status for answer in answers] == [200] * 8
        assert len(pool.all) == 8


async def test_requests_past_the_connections_wait_their_turn() -> None:
    """The pool never has more connections than it may."""
    async with a_pool(answer_forever, most=2) as pool:
        answers = await asyncio.gather(*(ask(pool) for _ in range(4)))

        assert [answer.status for answer in answers] == [200] * 4
        assert len(pool.all) == 2


async def test_more_waiting_than_allowed_is_refused() -> None:
    """A full queue says so at once, with Retry-After."""

    async def silent(client: Client) -> None:
        await client.reader.read()

    async with a_pool(silent, FAST, most=1) as pool:
        asking = [asyncio.ensure_future(ask(pool)) for _ in range(3)]
        results = await asyncio.gather(*asking, return_exceptions=True)

        reasons = [one.reason for one in results if isinstance(one, Refused)]
        assert Reason.UPSTREAM_BUSY in reasons


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"garbage\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            Reason.UPSTREAM_PROTOCOL,
        ),
        (
            b"HTTP/1.1 200\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reason.UPSTREAM_PROTOCOL,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
            Reason.UPSTREAM_PROTOCOL,
        ),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", Reason.UPSTREAM_PROTOCOL),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            Reason.UPSTREAM_PROTOCOL,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 40, Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, Reason.UPSTREAM_PROTOCOL),
        (
            b"HTTP/1.1 200 OK\r\nX: "
            + b"y" * 70_000
            + b"\r\nContent-Length: 0\r\n\r\n",
            Reason.UPSTREAM_PROTOCOL,
        ),
        (b"HTTP/1.1 103 E\r\n\r\n" * 40 + OK, Reason.UPSTREAM_PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nConte", Reason.UPSTREAM_RESET),
        (b"", Reason.UPSTREAM_RESET),
    ],
    ids=[
        "garbage",
        "two lengths",
        "length and coding",
        "unknown coding",
        "nul in a value",
        "bare newlines",
        "an upgrade nobody asked for",
        "interim answers without end",
        "an endless head",
        "a head that is too long",
        "many interim answers and one",
        "half a head",
        "nothing",
    ],
)
async def test_a_broken_answer_is_refused(sent: bytes, reason: Reason) -> None:
    """Each fault has one reason, and its connection is gone."""

    async def broken(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(sent)

    async with a_pool(broken) as pool:
        with pytest.raises(Refused) as refused:
            await ask(pool, "POST")

        assert reason is refused.value.reason
        await eventually(lambda: not pool.all)


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET"),
    ],
    ids=["204", "HEAD", "304", "more than its length"],
)
async def test_bytes_behind_an_answer_close_its_connection(
    head: bytes, method: str
) -> None:
    """The answer counts; what comes behind it reaches nobody."""

    async def talkative(client: Client) -> None:
        while True:
            await client.reader.readuntil(b"\r\n\r\n")
            await client.send(head + b"abc")

    async with a_pool(talkative) as pool:
        response = await ask(pool, method)

        assert await whole(response) == b""
        await eventually(lambda: not pool.all)


async def test_a_late_second_answer_is_nobodys() -> None:
    """A connection that speaks while idle is closed and never used again."""
    spoke = asyncio.Event()

    async def late(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(OK)
        await spoke.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        await client.reader.read()

    async with a_pool(late) as pool:
        await whole(await ask(pool))
        spoke.set()

        await eventually(lambda: not pool.all)
        assert not pool.idle


async def test_interim_answers_are_passed_over() -> None:
    """100 and 103 are not the answer."""

    async def polite(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        )
        await client.send(OK)
        await client.reader.read()

    async with a_pool(polite) as pool:
        response = await ask(pool)

        assert (response.status, await whole(response)) == (200, b"ok")
        assert all(name != b"link" for name, _, _ in response.headers)


async def test_a_body_without_length_ends_with_its_connection() -> None:
    """A length that is not announced is None, and the end is the close."""

    async def old(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with a_pool(old) as pool:
        response = await ask(pool)

        assert response.length is None
        assert await whole(response) == b"all of it"


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_a_body_that_breaks_off_is_an_error(half: bytes) -> None:
    """Half a body never looks like a whole one."""

    async def broken(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(half)

    async with a_pool(broken) as pool:
        response = await ask(pool)
        with pytest.raises(Refused) as refused:
            await whole(response)

        assert refused.value.reason is Reason.UPSTREAM_RESET


async def test_a_slow_first_byte_is_a_timeout() -> None:
    """The wait for a head is bounded."""

    async def silent(client: Client) -> None:
        await client.reader.read()

    async with a_pool(silent, FAST) as pool:
        with pytest.raises(Refused) as refused:
            await ask(pool)

        assert refused.value.reason is Reason.UPSTREAM_TIMEOUT
        await eventually(lambda: not pool.all)


async def test_a_body_that_stalls_is_a_timeout() -> None:
    """The wait between two parts of a body is bounded."""

    async def stalls(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await client.reader.read()

    async with a_pool(stalls, FAST) as pool:
        response = await ask(pool)
        with pytest.raises(Refused) as refused:
            await whole(response)

        assert refused.value.reason is Reason.UPSTREAM_TIMEOUT


async def test_nobody_listening_is_refused() -> None:
    """A closed port has its own reason."""
    async with backend(answer_forever) as port:
        pass
    pool = Pool(Server(host="127.0.0.1", port=port), PATIENT, Breaker())
    with pytest.raises(Refused) as refused:
        await ask(pool)

    assert refused.value.reason is Reason.UPSTREAM_REFUSED
    assert pool.connecting == 0


async def test_a_kept_alive_connection_that_closed_is_retried_once() -> None:
    """The race between a backend's idle timeout and a request costs nobody a 502."""
    seen: list[int] = []

    async def once(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        seen.append(1)
        await client.send(OK)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await client.reader.readuntil(b"\r\n\r\n")

    async with a_pool(once) as pool:
        await whole(await ask(pool))
        again = await ask(pool)

        assert await whole(again) == b"ok"
        assert len(seen) == 2


async def test_a_request_that_changes_something_is_not_sent_twice() -> None:
    """POST on a connection that closes is a 502, not a second order."""

    async def once(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(OK)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await client.reader.readuntil(b"\r\n\r\n")

    async with a_pool(once) as pool:
        await whole(await ask(pool))
        with pytest.raises(Refused) as refused:
            await ask(pool, "POST")

        assert refused.value.reason is Reason.UPSTREAM_RESET


@pytest.mark.parametrize(
    ("method", "reused", "answered", "replayable", "expected"),
    [
        ("GET", True, False, True, True),
        ("PUT", True, False, True, True),
        ("POST", True, False, True, False),
        ("GET", False, False, True, False),
        ("GET", True, True, True, False),
        ("GET", True, False, False, False),
    ],
)
def test_the_retry_rule(
    method: str, *, reused: bool, answered: bool, replayable: bool, expected: bool
) -> None:
    """Only an idempotent, replayable request that met a stale connection is resent."""
    actual = may_retry(method, reused=reused, answered=answered, replayable=replayable)

    assert expected is actual


async def test_a_streamed_body_is_sent_as_it_comes() -> None:
    """Parts of a request body reach the backend in chunks, and in order."""
    received: list[bytes] = []

    async def reads(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        received.append(await client.reader.readuntil(b"0\r\n\r\n"))
        await client.send(OK)

    async with a_pool(reads) as pool:
        body = BodyStream()
        asking = asyncio.ensure_future(
            pool.exchange("POST", GET, body, PATIENT, chunked=True)
        )
        body.feed(b"one")
        await asyncio.sleep(0)
        body.feed(b"two")
        body.finish()
        body.wake()
        response = await asking

        assert response.status == 200
        assert b"one" in received[0]
        assert b"two" in received[0]


async def test_an_answer_before_the_body_ends_the_upload() -> None:
    """An early answer is returned, and its connection is not used again."""

    async def early(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(OK)
        await client.reader.read()

    async with a_pool(early) as pool:
        response = await pool.exchange("POST", GET, BodyStream(), PATIENT, chunked=True)

        assert await whole(response) == b"ok"
        await eventually(lambda: not pool.all)


async def test_a_body_that_fails_fails_the_exchange() -> None:
    """What is wrong with the request's body is what the exchange raises."""

    async def reads(client: Client) -> None:
        await client.reader.read()

    async with a_pool(reads) as pool:
        body = BodyStream()
        asking = asyncio.ensure_future(
            pool.exchange("POST", GET, body, PATIENT, chunked=True)
        )
        await eventually(lambda: body.waiting)
        body.fail(Refused(Reason.BODY_TOO_LARGE))
        with pytest.raises(Refused) as refused:
            await asking

        assert refused.value.reason is Reason.BODY_TOO_LARGE
        await eventually(lambda: not pool.all)


async def test_a_cancelled_exchange_closes_its_connection() -> None:
    """A client that leaves takes its request to the backend with it."""

    async def silent(client: Client) -> None:
        await client.reader.read()

    async with a_pool(silent) as pool:
        asking = asyncio.ensure_future(ask(pool))
        await eventually(lambda: pool.busy == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        await eventually(lambda: not pool.all)


async def test_an_unread_body_stops_the_backend() -> None:
    """Memory is bounded: a reader that does not read stops the sender."""
    sent = 0

    async def floods(client: Client) -> None:
        nonlocal sent
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await client.send(b"x" * 100_000)
            sent += 100_000

    async with a_pool(floods) as pool:
        response = await ask(pool)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 25_000_000

        assert len(await whole(response)) == 50_000_000


async def test_head_that_trickles_in_has_no_longer_than_a_silent_one() -> None:
    """Each byte buys no time."""

    async def trickle(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100:
            await client.send(bytes((byte,)))
            await asyncio.sleep(0.02)

    async with a_pool(
        trickle, Timeouts(connect=1.0, first_byte=0.2, idle=60.0)
    ) as pool:
        with pytest.raises(Refused) as refused:
            await ask(pool, "POST")

        assert refused.value.reason is Reason.UPSTREAM_TIMEOUT


async def test_client_that_is_slow_to_upload_is_not_the_backends_fault() -> None:
    """While the client has the next move the backend is not timed."""

    async def patient(client: Client) -> None:
        await client.reader.readuntil(b"late")
        await client.send(OK)

    async with a_pool(patient, FAST) as pool:
        body = BodyStream()
        asked = pool.exchange("PUT", GET, body, FAST, chunked=True)
        await asyncio.sleep(2 * FAST.first_byte)
        body.feed(b"late")
        body.finish()
        body.wake()

        assert (await asked).status == 200


async def test_trailers_of_an_answer_are_bounded() -> None:
    """What llhttp collects of them has the bound of a head."""

    async def endless(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: "
        )
        for _ in range(100):
            await client.send(b"x" * 50_000)

    async with a_pool(endless) as pool:
        response = await ask(pool)

        with pytest.raises(Refused) as refused:
            await whole(response)
        assert refused.value.reason is Reason.UPSTREAM_PROTOCOL
        await eventually(lambda: not pool.all)
