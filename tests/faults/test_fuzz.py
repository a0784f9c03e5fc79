"""Bytes that nobody thought of, through the whole proxy, and an independent reading.

What a backend reads is parsed again by aiohttp's parser, which is written in Python and
shares nothing with llhttp. Whatever a client sends, that parser must see the requests
that the proxy decided about, and no other; whatever a backend answers, its client must
get that answer, a refusal, or half of it marked as half.

``corpus/`` holds where the search begins. It is kept: each file is replayed as it is,
and what the search ever finds is added there.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from aiohttp import http_exceptions
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParserPy, HttpResponseParserPy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.edge.limits import WireLimits
from tests.whole_proxy import POLICY, WholeProxy, whole_proxy
from tests.wire import DEADLINE, Answer, Client

CORPUS = Path(__file__).with_name("corpus")
REQUESTS = sorted((CORPUS / "requests").iterdir())
ANSWERS = sorted((CORPUS / "answers").iterdir())
SINGLE = ("host", "content-length", "transfer-encoding", "x-request-id")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

QUICK = WireLimits(half_close_seconds=1.0, linger_seconds=0.1)

PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\x80", b"\xff"),
    *(b"0", b"5", b"-", b"+", b"0x", b"ffffffffffffffff", b"\r\n\r\n", b"0\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content_length: 9\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Host: b\r\n"),
    *(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Expect: 100-continue\r\n"),
    *(b"GET /open/evil HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.0", b"HTTP/1.1 "),
    *(b"X-Lumina-Role: admin\r\n", b"%2e%2e/", b"../", b"chunked", b"HEAD "),
]


@st.composite
def mutated(draw: st.DrawFn, files: list[Path]) -> bytes:
    """Return a file of the corpus with a few accidents."""
    data = draw(st.sampled_from(files)).read_bytes()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from(PIECES) | st.binary(max_size=3) | st.just(data[at:to] * 2)
        )
        data = data[:at] + piece + data[draw(st.sampled_from([at, to])) :]
    return data


def cuts(data: bytes) -> st.SearchStrategy[list[int]]:
    """Return where a stream may be cut into reads."""
    return st.lists(st.integers(0, len(data)), max_size=4).map(sorted)


def parts(data: bytes, at: list[int]) -> Iterator[bytes]:
    """Yield a stream in pieces that are not empty."""
    for begin, end in zip([0, *at], [*at, len(data)], strict=True):
        if begin < end:
            yield data[begin:end]


class Backend:
    """A backend that reads with a parser of its own.

    Attributes:
        heard: method, path and body of every request that was whole.
        fields: the lower-case names of their fields.
        doubts: what its parser refused.
        answer: what it answers with, cut into reads; it closes behind that. None for
            OK, and again.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bytes]] = []
        self.fields: list[list[str]] = []
        self.doubts: list[BaseException] = []
        self.answer: list[bytes] | None = None

    def clear(self) -> None:
        """Forget what was heard."""
        self.heard, self.fields, self.doubts, self.answer = [], [], [], None

    async def play(self, client: Client) -> None:
        """Read requests, and answer each that is whole."""
        loop = asyncio.get_running_loop()
        parser = HttpRequestParserPy(
            BaseProtocol(loop), loop, max_line_size=65536, max_field_size=65536
        )
        waiting = []
        while data := await client.reader.read(65536):
            try:
                messages, _, _ = parser.feed_data(data)
            except http_exceptions.HttpProcessingError as error:
                self.doubts.append(error)
                return
            waiting += messages
            while waiting and waiting[0][1].is_eof():
                message, payload = waiting.pop(0)
                body = await payload.read()
                self.heard.append((message.method, message.path, body))
                self.fields.append([name.lower() for name in message.headers])
                if self.answer is None:
                    await client.send(OK)
                    continue
                for part in self.answer:
                    await client.send(part)
                    await asyncio.sleep(0)
                return


async def say(proxy: WholeProxy, pieces: list[bytes]) -> bytes:
    """Send bytes in pieces, close the sending side, and return what is answered."""
    client = await Client.connect(proxy.port)
    try:
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)
        client.writer.write_eof()
        return await client.rest()
    except (ConnectionError, RuntimeError):
        return b""
    finally:
        with contextlib.suppress(ConnectionError):
            await client.close()


async def requests_agree(
    proxy: WholeProxy, backend: Backend, sent: list[bytes]
) -> None:
    """Send bytes; assert that both sides read the same requests."""
    backend.clear()
    proxy.seen.exchanges.clear()
    answered = await say(proxy, sent)
    await proxy.settled()
    exchanges = proxy.seen.exchanges
    forwarded = [
        (one.method, one.path)
        for one in exchanges
        if one.upstream_started and one.reason is None and not one.aborted
    ]
    heard = [(method, path.partition("?")[0]) for method, path, _ in backend.heard]

    assert not proxy.seen.bugs
    assert not backend.doubts
    assert heard[: len(forwarded)] == forwarded
    # What was refused because the rest of its body was broken was never heard whole.
    assert len(heard) - len(forwarded) <= sum(one.aborted for one in exchanges)
    assert all(path.startswith("/open/") for _, path in heard)
    for names in backend.fields:
        assert all(names.count(name) <= 1 for name in SINGLE)
        assert not {"upgrade", "te", "trailer", "x-lumina-role", "expect"} & set(names)
    assert answered.count(b"HTTP/1.1 200 ") <= len(exchanges)


async def answers_agree(proxy: WholeProxy, backend: Backend, sent: list[bytes]) -> None:
    """Let the backend answer bytes; assert that the client reads what it should."""
    backend.clear()
    backend.answer = sent
    client = await Client.connect(proxy.port)
    await client.send(b"GET /open/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await first_answer(client)
    await client.close()
    await proxy.settled()
    backend.answer = None
    after = await say(proxy, [b"GET /open/b HTTP/1.1\r\nHost: a\r\n\r\n"])

    assert not proxy.seen.bugs
    assert after.startswith(b"HTTP/1.1 200 ")
    assert after.endswith(b"\r\n\r\nok")
    if answer.status == 502 and b"upstream-" in answer.body:
        return
    read = read_by_another(b"".join(sent))
    if read is not None and answer.complete:
        assert (answer.status, answer.body) == read


async def first_answer(client: Client) -> Answer:
    """Return the answer, or as much of it as there is."""
    try:
        return await client.answer()
    except (ConnectionError, asyncio.IncompleteReadError):
        return Answer()


def read_by_another(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the final answer; None where that parser has doubts."""
    loop = asyncio.get_running_loop()
    parser = HttpResponseParserPy(
        BaseProtocol(loop), loop, read_until_eof=True, auto_decompress=False
    )
    try:
        messages, _, _ = parser.feed_data(data)
        parser.feed_eof()
    except http_exceptions.HttpProcessingError:
        return None
    for message, payload in messages:
        if message.code >= 200:
            if message.code in {204, 304}:
                return message.code, b""
            if not payload.is_eof() or payload.exception():
                return None
            return message.code, payload.read_nowait(-1)
    return None


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """Run one loop for every example of this module."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as one:
        yield one


class Stand:
    """A proxy and its backend, which examples share."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._stack = contextlib.AsyncExitStack()
        self.backend = Backend()
        self.proxy = runner.run(self._start())

    async def _start(self) -> WholeProxy:
        policy = POLICY.replace("first_byte: 2s, idle: 2s", "first_byte: 1s, idle: 1s")
        return await self._stack.enter_async_context(
            whole_proxy(self.backend.play, policy, QUICK)
        )

    def requests(self, sent: list[bytes]) -> None:
        """See ``requests_agree``."""
        self._run(requests_agree, sent)

    def answers(self, sent: list[bytes]) -> None:
        """See ``answers_agree``."""
        self._run(answers_agree, sent)

    def _run(self, agree: object, sent: list[bytes]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(DEADLINE):
                await agree(self.proxy, self.backend, sent)  # type: ignore[operator]

        self._runner.run(bounded())

    def stop(self) -> None:
        """End both, and see that nothing is left."""
        self._runner.run(self._stack.aclose())


@pytest.fixture(scope="module")
def stand(runner: asyncio.Runner) -> Iterator[Stand]:
    """Start a proxy once."""
    one = Stand(runner)
    yield one
    one.stop()


SEARCH = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_requests_of_the_corpus_are_read_alike(path: Path, stand: Stand) -> None:
    """Whole, and byte by byte."""
    data = path.read_bytes()

    stand.requests([data])
    stand.requests([bytes((byte,)) for byte in data])


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_answers_of_the_corpus_are_read_alike(path: Path, stand: Stand) -> None:
    """Whole, and byte by byte."""
    data = path.read_bytes()

    stand.answers([data])
    stand.answers([bytes((byte,)) for byte in data])


@SEARCH
@given(mutated(REQUESTS), st.data())
def test_both_sides_read_the_same_requests(
    stand: Stand, data: bytes, draw: st.DataObject
) -> None:
    """No bytes make the backend see a request that the proxy did not decide about."""
    stand.requests(list(parts(data, draw.draw(cuts(data)))))


@SEARCH
@given(mutated(ANSWERS), st.data())
def test_both_sides_read_the_same_answer(
    stand: Stand, data: bytes, draw: st.DataObject
) -> None:
    """No bytes of one answer reach another client, or are half of it unmarked."""
    stand.answers(list(parts(data, draw.draw(cuts(data)))))
