"""Bodies without an end in sight: files, server-sent events and WebSockets.

Nothing here holds more than one chunk or message in memory.
"""

import asyncio
import contextlib
import json
import re
import secrets
from pathlib import Path

from aiohttp import WSMsgType, web

from backend_stub import validation
from backend_stub.validation import InvalidError

FOLDER = web.AppKey("folder", Path)
CLOSING = web.AppKey("closing", asyncio.Event)
ROOMS = web.AppKey("rooms", dict[str, set[web.WebSocketResponse]])
CHUNK_BYTES = 65536
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

routes = web.RouteTableDef()


def _path(request: web.Request) -> Path:
    name = request.match_info["name"]
    if not NAME.fullmatch(name):
        raise InvalidError({"name": ["Enter a valid file name."]})
    return request.app[FOLDER] / name


async def _receive(request: web.Request, path: Path) -> int:
    """Write a body beside its place, then put it there whole; return its bytes."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    size = 0
    try:
        with await asyncio.to_thread(part.open, "xb") as file:
            async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                size += await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(part.replace, path)
    finally:
        part.unlink(missing_ok=True)
    return size


@routes.put("/api/files/{name}")
@routes.post("/api/files/{name}")
async def upload(request: web.Request) -> web.Response:
    """Store the body under a name: 201 when new, 200 when it replaced another."""
    path = _path(request)
    existed = await asyncio.to_thread(path.is_file)
    size = await _receive(request, path)
    answer = {"name": path.name, "size": size}
    return web.json_response(answer, status=200 if existed else 201)


@routes.get("/api/files/{name}")
async def download(request: web.Request) -> web.StreamResponse:
    """Send a file, or the range of it asked for (RFC 9110, section 14)."""
    path = _path(request)
    if not await asyncio.to_thread(path.is_file):
        raise web.HTTPNotFound
    return web.FileResponse(path, chunk_size=CHUNK_BYTES)


def _listing(folder: Path) -> list[dict[str, str | int]]:
    return [
        {"name": path.name, "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if NAME.fullmatch(path.name)
    ]


@routes.get("/api/files")
async def list_files(request: web.Request) -> web.Response:
    """List the stored files by name."""
    items = await asyncio.to_thread(_listing, request.app[FOLDER])
    return web.json_response({"items": items})


@routes.get("/api/events")
async def events(request: web.Request) -> web.StreamResponse:
    """Send ``count`` events ``interval`` seconds apart; without a count, for ever."""
    count = validation.number_in(request, "count", None, 1_000_000)
    interval = validation.number_in(request, "interval", 1.0, 3600) or 0
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"},
    )
    await response.prepare(request)
    closing = request.app[CLOSING]
    sent = 0
    with contextlib.suppress(ConnectionError):
        while (count is None or sent < count) and not closing.is_set():
            if sent:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(closing.wait(), interval)
                    break
            sent += 1
            data = json.dumps({"n": sent})
            await response.write(f"id: {sent}\nevent: tick\ndata: {data}\n\n".encode())
    return response


async def _broadcast(
    members: set[web.WebSocketResponse],
    kind: WSMsgType,
    data: str | bytes,
) -> None:
    for member in tuple(members):
        with contextlib.suppress(ConnectionError):
            if kind is WSMsgType.TEXT and isinstance(data, str):
                await member.send_str(data)
            elif kind is WSMsgType.BINARY and isinstance(data, bytes):
                await member.send_bytes(data)


@routes.get("/api/rooms/{room}/ws")
async def room(request: web.Request) -> web.WebSocketResponse:
    """Join a room (RFC 6455): what anyone says, everyone in it hears."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    rooms = request.app[ROOMS]
    name = request.match_info["room"]
    members = rooms.setdefault(name, set())
    members.add(socket)
    try:
        async for message in socket:
            if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                await _broadcast(members, message.type, message.data)
    finally:
        members.discard(socket)
        if not members and rooms.get(name) is members:
            del rooms[name]
    return socket


async def close_streams(app: web.Application) -> None:
    """End every event stream and send every WebSocket 1001, going away."""
    app[CLOSING].set()
    sockets = [socket for members in app[ROOMS].values() for socket in members]
    goodbye = (socket.close(code=1001, message=b"going away") for socket in sockets)
    await asyncio.gather(*goodbye)
