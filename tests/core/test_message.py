"""The values that cross every boundary."""

import asyncio

from proxy.core.message import NO_BODY, Request, Response, Whole


def test_whole_body_is_there_once() -> None:
    """All of it at the first read, the end at every other."""
    body = Whole(b"abc")
    assert (body.complete, body.limit) == (True, None)

    async def read_twice() -> list[bytes]:
        return [await body.read(), await body.read()]

    assert asyncio.run(read_twice()) == [b"abc", b""]
    assert body.whole() == b""


def test_abandoned_body_is_gone() -> None:
    """Nobody gets the bytes that nobody wanted."""
    body = Whole(b"abc")
    body.abandon()

    assert body.whole() == b""


def test_messages_have_no_body_until_they_get_one() -> None:
    """What was read of a head is kept as it is."""
    lines = [(b"host", b"Host", b"a")]
    request = Request("GET", "/a?b", "1.1", lines, peer="192.0.2.1", peer_trusted=True)
    response = Response(204, b"No Content", lines, length=None, bodiless=True)

    assert request.body is response.body is NO_BODY
    assert (request.method, request.target, request.version) == ("GET", "/a?b", "1.1")
    assert (request.peer, request.peer_trusted) == ("192.0.2.1", True)
    assert request.keep_alive
    assert (response.status, response.phrase) == (204, b"No Content")
    assert (response.length, response.bodiless) == (None, True)
    assert request.headers is response.headers is lines
