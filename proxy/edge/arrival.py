"""The first bytes of a connection, where a trusted peer says who its client is."""

import asyncio
import socket
from typing import Final

from proxy.core.proxy_protocol import MAX_BYTES, read_header

_PEEKED: Final = MAX_BYTES


async def read_source(accepted: socket.socket) -> str | None:
    """Read a PROXY header, and not a byte more: what follows may be TLS.

    Returns:
        The client's address; None where the header leaves it to the connection.

    Raises:
        ValueError: the connection does not begin with one.
        OSError: it ended before.
    """
    data = b""
    while True:
        await _readable(accepted)
        try:
            peeked = accepted.recv(_PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        if not peeked:
            raise ConnectionResetError("it ended within the PROXY header")
        header = read_header(data + peeked)
        if header is not None:
            accepted.recv(header.length - len(data))
            return header.source
        data += accepted.recv(len(peeked))


async def _readable(accepted: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(accepted, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(accepted)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def address_of(accepted: socket.socket) -> str:
    """Return the address of a connection's peer; "" for a unix socket.

    Raises:
        OSError: it is gone.
    """
    if accepted.family == socket.AF_UNIX:
        return ""
    return str(accepted.getpeername()[0])
