"""Files, events and rooms."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient

Client = TestClient[web.Request, web.Application]


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    """Yield a body of unknown length."""
    for at in range(0, len(data), 10_000):
        yield data[at : at + 10_000]


async def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds; fail when it does not within 5 s."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("the condition never held")


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_file_comes_back_byte_for_byte(lms: Client, method: str) -> None:
    """An upload in chunks larger than the JSON limit is stored and sent whole."""
    data = bytes(range(256)) * 17 * 4096
    answer = await lms.request(method, "/api/files/a.bin", data=chunks(data))
    assert answer.status == 201
    assert await answer.json() == {"name": "a.bin", "size": len(data)}
    assert await (await lms.get("/api/files/a.bin")).read() == data
    ranged = await lms.get("/api/files/a.bin", headers={"Range": "bytes=5-9"})
    assert (ranged.status, await ranged.read()) == (206, data[5:10])


async def test_files_are_listed_and_replaced(lms: Client) -> None:
    """A second upload of a name replaces the first and answers 200."""
    names = ("b", "a", "a")
    answers = [await lms.put(f"/api/files/{name}", data=b"x") for name in names]
    assert [answer.status for answer in answers] == [201, 201, 200]
    listed = await (await lms.get("/api/files")).json()
    assert listed == {"items": [{"name": "a", "size": 1}, {"name": "b", "size": 1}]}


@pytest.mark.parametrize("name", ["..%2Fl.db", ".hidden", "a%20b", "x" * 129])
async def test_a_bad_file_name_is_refused(lms: Client, name: str) -> None:
    """No name leads out of the folder or hides in it."""
    for method in ("PUT", "GET"):
        answer = await lms.request(method, f"/api/files/{name}")
        assert answer.status == 400
        assert await answer.json() == {"name": ["Enter a valid file name."]}


async def test_a_missing_file_is_not_found(lms: Client) -> None:
    """A good name without a file answers 404."""
    assert (await lms.get("/api/files/none")).status == 404


async def test_a_broken_upload_leaves_nothing(lms: Client, tmp_path: Path) -> None:
    """When the client goes away half-way, neither file nor part remains."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", lms.port)
    writer.write(
        b"PUT /api/files/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
    )
    await writer.drain()
    folder = tmp_path / "files"
    await until(lambda: any(folder.iterdir()))
    writer.close()
    await writer.wait_closed()
    await until(lambda: not any(folder.iterdir()))


async def test_events_are_counted(lms: Client) -> None:
    """As many events as asked for arrive, numbered, and then the stream ends."""
    answer = await lms.get("/api/events?count=2&interval=0.01")
    assert answer.content_type == "text/event-stream"
    event = 'id: {0}\nevent: tick\ndata: {{"n": {0}}}\n\n'
    assert await answer.text() == event.format(1) + event.format(2)


@pytest.mark.parametrize("query", ["count=x", "count=-1", "interval=nan", "count=9e9"])
async def test_bad_event_queries_are_refused(lms: Client, query: str) -> None:
    """A count or interval that is no number is named."""
    answer = await lms.get(f"/api/events?{query}")
    assert answer.status == 400
    assert await answer.json() == {
        query.partition("=")[0]: ["A valid number is required."]
    }


async def test_an_interval_has_a_limit(lms: Client) -> None:
    """Nobody waits more than an hour for an event."""
    answer = await lms.get("/api/events?interval=3601")
    message = "Ensure this value is less than or equal to 3600."
    assert await answer.json() == {"interval": [message]}


async def test_a_room_echoes_to_everyone_in_it(lms: Client) -> None:
    """Text and bytes reach all members of the room and nobody else."""
    one = await lms.ws_connect("/api/rooms/a/ws")
    two = await lms.ws_connect("/api/rooms/a/ws")
    other = await lms.ws_connect("/api/rooms/b/ws")
    await two.send_str("here")
    assert await two.receive_str() == "here"
    assert await one.receive_str() == "here"
    await one.send_bytes(b"\0\xff")
    assert await two.receive_bytes() == b"\0\xff"
    await other.send_str("alone")
    assert await other.receive_str() == "alone"
    await two.close()
    await one.receive_bytes()
    await one.send_str("left")
    assert await one.receive_str() == "left"


async def test_shutdown_ends_streams_and_rooms(lms: Client) -> None:
    """An endless event stream ends and a room closes with 1001 on shutdown."""
    socket = await lms.ws_connect("/api/rooms/a/ws")
    answer = await lms.get("/api/events?interval=3600")
    assert await answer.content.readuntil(b"\n\n")
    runner = lms.server.runner
    assert runner
    closing = asyncio.ensure_future(runner.cleanup())
    message = await socket.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    assert await answer.content.read() == b""
    await closing
