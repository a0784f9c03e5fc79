"""Backends that break their promises, seen from the client's side of the whole proxy.

Whatever a backend does, its client gets one answer or a broken connection, the next
request is served, and nothing is left of the exchange: ``whole_proxy`` looks for tasks
and sockets when it ends.
"""

import asyncio
import contextlib
import json

import pytest

from tests.whole_proxy import POLICY, WholeProxy, client_of, whole_proxy
from tests.wire import Answer, Client, Script, eventually

SHORT = POLICY.replace("first_byte: 2s, idle: 2s", "first_byte: 300ms, idle: 300ms")
GET = b"GET /open/x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Backend:
    """A backend whose first connection fails, and that is well then.

    Args:
        fault: plays the first connection.
    """

    def __init__(self, fault: Script) -> None:
        self._fault = fault
        self._connections = 0

    async def play(self, client: Client) -> None:
        """Answer on one connection."""
        self._connections += 1
        if self._connections == 1:
            await self._fault(client)
            return
        while True:
            await client.reader.readuntil(b"\r\n\r\n")
            await client.send(OK)


def saying(data: bytes, then: str = "stay") -> Script:
    """Read a request's head, say something, and close, reset, or stay."""

    async def play(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(data)
        if then == "reset":
            client.reset()
        elif then == "stay":
            await client.reader.read()

    return play


async def close_at_once(client: Client) -> None:
    """Close the connection before a byte is read."""
    client.writer.close()


async def reset_at_once(client: Client) -> None:
    """Break the connection before a byte is read."""
    client.reset()


async def without_end(client: Client) -> None:
    """Send interim answers and nothing else."""
    await client.reader.readuntil(b"\r\n\r\n")
    while True:
        await client.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50)


async def trickle_a_head(client: Client) -> None:
    """Send a head so slowly that each byte comes in time."""
    await client.reader.readuntil(b"\r\n\r\n")
    for byte in HEAD * 100:
        await client.send(bytes((byte,)))
        await asyncio.sleep(0.05)


async def trickle_and_stall(client: Client) -> None:
    """Send a head and half a body, and nothing more."""
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(HEAD + b"Content-Length: 9\r\n\r\nhalf")
    await client.reader.read()


PROTOCOL, RESET, TIMEOUT = "upstream-protocol", "upstream-reset", "upstream-timeout"

REFUSED: dict[str, tuple[Script, str]] = {
    "closes at once": (close_at_once, RESET),
    "resets at once": (reset_at_once, RESET),
    "closes without a word": (saying(b"", "close"), RESET),
    "resets without a word": (saying(b"", "reset"), RESET),
    "closes in its head": (saying(HEAD + b"Conten", "close"), RESET),
    "resets in its head": (saying(HEAD + b"Conten", "reset"), RESET),
    "says nothing at all": (saying(b""), TIMEOUT),
    "trickles its head": (trickle_a_head, TIMEOUT),
    "garbage": (saying(b"\x16\x03\x01 what is this\r\n\r\n"), PROTOCOL),
    "two lengths": (
        saying(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        PROTOCOL,
    ),
    "two lengths in one": (saying(HEAD + b"Content-Length: 2, 2\r\n\r\nok"), PROTOCOL),
    "a length that is none": (saying(HEAD + b"Content-Length: +2\r\n\r\nok"), PROTOCOL),
    "a length and a coding": (
        saying(
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        PROTOCOL,
    ),
    "a coding that nobody knows": (
        saying(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        PROTOCOL,
    ),
    "a CR in a field": (
        saying(HEAD + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok"),
        PROTOCOL,
    ),
    "a NUL in a field": (
        saying(HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok"),
        PROTOCOL,
    ),
    "a NUL in a name": (
        saying(HEAD + b"X\0: ab\r\nContent-Length: 2\r\n\r\nok"),
        PROTOCOL,
    ),
    "a line that goes on": (
        saying(HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
        PROTOCOL,
    ),
    "100 fields of 8 KiB": (
        saying(HEAD + b"X: %b\r\n" % (b"x" * 8192) * 100 + b"\r\n"),
        PROTOCOL,
    ),
    "interim answers without end": (without_end, PROTOCOL),
    "an upgrade that nobody wants": (
        saying(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        PROTOCOL,
    ),
    "a status that is none": (saying(b"HTTP/1.1 999 X\r\n\r\n"), PROTOCOL),
}


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize(("fault", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_client_is_told_whose_fault_it_is(
    fault: Script, reason: str, request_bytes: bytes
) -> None:
    """One answer, one reason; the client's connection goes on."""
    async with (
        whole_proxy(Backend(fault).play, SHORT) as proxy,
        client_of(proxy) as client,
    ):
        answer = await client.request(request_bytes)

        assert answer.status in {502, 504}
        assert json.loads(answer.body)["reason"] == reason
        assert (await client.request(GET)).body == b"ok"
        await client.close()
        await proxy.settled()


BROKEN_OFF: dict[str, Script] = {
    "closes in its body": saying(HEAD + b"Content-Length: 9\r\n\r\nhalf", "close"),
    "resets in its body": saying(HEAD + b"Content-Length: 9\r\n\r\nhalf", "reset"),
    "closes between chunks": saying(CHUNKED + b"4\r\nhalf\r\n", "close"),
    "resets in a chunk": saying(CHUNKED + b"9\r\nhalf", "reset"),
    "resets a body that ends with it": saying(HEAD + b"\r\nhalf", "reset"),
    "stalls in its body": trickle_and_stall,
    "a chunk size that is none": saying(CHUNKED + b"4\r\nhalf\r\nxyz\r\n"),
    "a chunk that is too long": saying(CHUNKED + b"4\r\nhalf+more\r\n0\r\n\r\n"),
    "a chunk size without end": saying(CHUNKED + b"4\r\nhalf\r\n" + b"f" * 40),
    "trailers without end": saying(
        CHUNKED + b"4\r\nhalf\r\n0\r\n" + b"T: %b\r\n" % (b"x" * 8192) * 100
    ),
}


@pytest.mark.parametrize("fault", BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_half_a_body_is_never_a_whole_one(fault: Script) -> None:
    """What was begun ends without its end; what was not yet, is a 502."""
    async with (
        whole_proxy(Backend(fault).play, SHORT) as proxy,
        client_of(proxy) as client,
    ):
        await client.send(GET)
        answer = await read_what_comes(client)

        assert answer.complete == (answer.status == 502)
        async with client_of(proxy) as another:
            assert (await another.request(GET)).body == b"ok"
        await client.close()
        await proxy.settled()


async def read_what_comes(client: Client) -> Answer:
    """Return an answer, or as much of it as there is before a reset."""
    try:
        return await client.answer()
    except (ConnectionError, asyncio.IncompleteReadError):
        return Answer()


CLOSED_AFTER: dict[str, tuple[Script, bytes]] = {
    "more than its length": (saying(OK + b"more"), b"ok"),
    "a second answer": (saying(OK + OK), b"ok"),
    "204 with a body": (saying(b"HTTP/1.1 204 No Content\r\n\r\nbody"), b""),
    "304 with a body": (
        saying(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody"),
        b"",
    ),
    "closes behind its answer": (saying(OK, "close"), b"ok"),
    "a body that ends with it": (saying(HEAD + b"\r\nok", "close"), b"ok"),
}


@pytest.mark.parametrize(("fault", "body"), CLOSED_AFTER.values(), ids=CLOSED_AFTER)
async def test_what_follows_an_answer_reaches_nobody(
    fault: Script, body: bytes
) -> None:
    """The answer counts, the rest is dropped, and its connection is not used again."""
    async with (
        whole_proxy(Backend(fault).play, SHORT) as proxy,
        client_of(proxy) as client,
    ):
        await client.send(GET)
        answer = await client.answer()
        again = await client.request(GET)

        assert (answer.body, again.body) == (body, b"ok")
        assert proxy.open_to_backend("idle", "active") <= 1
        await client.close()
        await proxy.settled()


async def early_answer(client: Client) -> None:
    """Answer before the request's body has been read, and read none of it."""
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    await client.writer.wait_closed()


async def early_answer_and_reset(client: Client) -> None:
    """Answer before the request's body has been read, and break the connection."""
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    await asyncio.sleep(0.05)
    client.reset()


@pytest.mark.parametrize("fault", [early_answer, early_answer_and_reset])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_an_answer_may_come_before_the_body(fault: Script, framing: str) -> None:
    """The client gets it although it is still sending; nobody waits for the rest."""
    total = 8_000_000
    head = b"POST /open/x HTTP/1.1\r\nHost: a\r\n"
    block = b"x" * 65536
    if framing == "length":
        head += b"Content-Length: %d\r\n\r\n" % total
    else:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        block = b"10000\r\n" + block + b"\r\n"
    async with (
        whole_proxy(Backend(fault).play, SHORT) as proxy,
        client_of(proxy) as client,
    ):
        await client.send(head)

        async def upload() -> None:
            with contextlib.suppress(ConnectionError):
                for _ in range(total // 65536):
                    await client.send(block)

        uploading = asyncio.ensure_future(upload())
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"no")
        await uploading
        await client.close()
        await proxy.settled()


ANSWERS: dict[str, bytes] = {
    "a length": OK,
    "chunks": CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\nT: t\r\n\r\n",
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("whole", ANSWERS.values(), ids=ANSWERS)
async def test_a_backend_may_leave_after_any_byte(whole: bytes, how: str) -> None:
    """Whole, refused with a reason, or broken off: never anything between."""
    cuts = iter(range(len(whole) + 1))
    cut = 0

    async def play(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(whole[:cut])
        await asyncio.sleep(0)
        if how == "reset" and cut < len(whole):
            client.reset()

    outcomes: set[tuple[int, bytes, bool]] = set()
    async with whole_proxy(play, SHORT) as proxy:
        for cut in cuts:  # noqa: B007 - the script reads it
            async with client_of(proxy) as client:
                await client.send(GET)
                answer = await read_what_comes(client)
                body = b"" if answer.status == 502 else answer.body
                outcomes.add((answer.status, body, answer.complete))
        await proxy.settled()

    assert (200, b"ok", True) in outcomes
    for status, body, complete in outcomes - {(200, b"ok", True)}:
        assert (status == 502) == complete, (status, body)
        assert status in {0, 200, 502}


async def test_a_backend_that_is_stopped_is_a_timeout_and_no_more() -> None:
    """Its connections stay silent; each client is told in time, and can go on."""

    async def stopped(client: Client) -> None:
        await client.writer.wait_closed()

    async with whole_proxy(stopped, SHORT) as proxy:
        answers = await asyncio.gather(*(one_request(proxy) for _ in range(20)))

        assert {answer.status for answer in answers} == {504}
        await proxy.settled()


async def test_a_backend_that_does_not_read_is_a_timeout() -> None:
    """An upload that nobody takes is given up, and its client told."""

    async def deaf(client: Client) -> None:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.writer.wait_closed()

    async with whole_proxy(deaf, SHORT) as proxy, client_of(proxy) as client:
        await client.send(b"POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: ")
        await client.send(b"16000000\r\n\r\n")

        async def upload() -> None:
            with contextlib.suppress(ConnectionError):
                await client.send(b"x" * 16_000_000)

        uploading = asyncio.ensure_future(upload())
        assert (await client.answer()).status == 504
        client.reset()
        await uploading
        await proxy.settled()


async def one_request(proxy: WholeProxy) -> Answer:
    """Ask once, on a connection of its own."""
    async with client_of(proxy) as client:
        return await client.request(GET)


async def test_a_slow_body_is_not_a_broken_one() -> None:
    """An answer that goes on for longer than every timeout is passed on whole."""

    async def events(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(HEAD + b"Content-Type: text/event-stream\r\n\r\n")
        for number in range(8):
            await client.send(b"data: %d\n\n" % number)
            await asyncio.sleep(0.1)

    async with whole_proxy(events, SHORT) as proxy, client_of(proxy) as client:
        await client.send(GET)
        await client.reader.readuntil(b"\r\n\r\n")
        first = await client.reader.readuntil(b"\n\n\r\n")
        assert b"data: 0\n\n" in first
        rest = await client.reader.readuntil(b"\r\n0\r\n\r\n")
        assert b"data: 7\n\n" in rest
        await eventually(lambda: len(proxy.seen.exchanges) == 1)
        assert not proxy.seen.exchanges[0].aborted


PATIENT = (
    SHORT
    + """
  - id: patient
    match: GET /patient
    allow: anyone
    timeouts: {first_byte: 5s, idle: 5s}
"""
)


@pytest.mark.parametrize("path", ["open/x", "patient"])
async def test_a_rule_may_be_more_patient_than_its_backend(path: str) -> None:
    """A long poll, and then events with a long silence between, under one rule."""

    async def think(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        await client.send(HEAD + b"Content-Type: text/event-stream\r\n\r\n")
        await client.send(b"data: 1\n\n")
        await asyncio.sleep(0.5)
        await client.send(b"data: 2\n\n")

    request = GET.replace(b"open/x", path.encode())
    async with whole_proxy(think, PATIENT) as proxy, client_of(proxy) as client:
        answer = await client.request(request)

        if path == "patient":
            assert (answer.status, answer.complete) == (200, True)
            assert answer.body == b"data: 1\n\ndata: 2\n\n"
        else:
            assert answer.status == 504
        await client.close()
        await proxy.settled()
