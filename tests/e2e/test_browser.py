"""A page with server-sent events and a WebSocket, in a browser, through the sidecar."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from tests.chromium import Chromium, chromium
from tests.e2e.sidecar import Sidecar
from tests.ports import free_port

POLICY = """\
version: 1
backends:
  lms:
    servers: ["${BACKEND_URL}"]
    timeouts: {idle: 1s}
rules:
  - {id: page, match: GET /page, allow: anyone}
  - {id: events, match: GET /events, allow: anyone, timeouts: {idle: 30s}}
  - {id: poll, match: GET /poll, allow: anyone}
  - id: echo
    match: GET /echo
    allow: anyone
    upgrade: [websocket]
  - id: quiet
    match: GET /quiet
    allow: anyone
    upgrade: {protocols: [websocket], idle: 1s}
"""

PAGE = """<!DOCTYPE html><meta charset="utf-8"><title>A page</title><script>
const at = (path) => new WebSocket(`ws://${location.host}${path}`, ["chat"]);
const events = () => new Promise((done) => {
  const seen = [], source = new EventSource("/events");
  source.onmessage = (event) => {
    seen.push([event.data, event.lastEventId]);
    if (seen.length === 5) { source.close(); done(seen); }
  };
});
const echo = () => new Promise((done) => {
  const got = [], socket = at("/echo"), large = "x".repeat(3000000);
  socket.onopen = () => { socket.send("hello"); socket.send(large); };
  socket.onmessage = (event) => {
    got.push(event.data === large ? "large" : event.data);
    if (got.length === 2) socket.close(1000, "enough");
  };
  socket.onclose = (event) =>
    done({got, protocol: socket.protocol, code: event.code, clean: event.wasClean});
});
const quiet = () => new Promise((done) => {
  const socket = at("/quiet");
  socket.onclose = (event) => done({code: event.code, clean: event.wasClean});
});
const poll = async () => (await fetch("/poll")).text();
const refused = () => fetch("/nowhere").then((answer) => answer.json());
</script>"""


async def page(_: web.Request) -> web.Response:
    """Show the page."""
    return web.Response(text=PAGE, content_type="text/html")


async def events(request: web.Request) -> web.StreamResponse:
    """Send an event, then nothing for longer than the backend's idle, then others."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for number in range(100):
            await response.write(b"id: %d\ndata: event %d\n\n" % (number, number))
            await asyncio.sleep(1.2 if number == 0 else 0.02)
    return response


async def poll(_: web.Request) -> web.Response:
    """Answer after a while."""
    await asyncio.sleep(1.2)
    return web.Response(text="at last")


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Say whatever is said."""
    socket = web.WebSocketResponse(protocols=["chat"], max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


@pytest.fixture
async def backend() -> AsyncIterator[int]:
    """Run a service with such a page; yield its port."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/page", page),
            web.get("/events", events),
            web.get("/poll", poll),
            web.get("/echo", echo),
            web.get("/quiet", echo),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


@pytest.fixture
def sidecar(tmp_path: Path, backend: int) -> Iterator[Sidecar]:
    """Put a sidecar before it."""
    one = Sidecar(tmp_path, POLICY, {"BACKEND_URL": f"http://127.0.0.1:{backend}"})
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    """Start a browser."""
    profile = tmp_path / "profile"
    profile.mkdir()
    async with chromium(profile) as one:
        yield one


async def test_a_page_works_as_without_the_sidecar(
    sidecar: Sidecar, browser: Chromium
) -> None:
    """Events arrive though they pause, a WebSocket carries megabytes and ends clean."""
    await asyncio.to_thread(sidecar.wait)
    url = f"http://127.0.0.1:{sidecar.data}"
    seen = await browser.value_on(
        f"{url}/page",
        "Promise.all([events(), echo(), quiet(), poll(), refused()])",
    )

    assert seen[0] == [[f"event {number}", str(number)] for number in range(5)]
    assert seen[1] == {
        "got": ["hello", "large"],
        "protocol": "chat",
        "code": 1000,
        "clean": True,
    }
    assert seen[2] == {"code": 1001, "clean": True}
    assert seen[3] == "at last"
    assert seen[4]["reason"] == "no-rule"
    shown = await browser.value_on(f"{url}/nowhere", "document.body.innerText")
    assert "404 Not Found" in shown
    assert "No rule of the policy matches." in shown
    assert "no-rule" in shown
