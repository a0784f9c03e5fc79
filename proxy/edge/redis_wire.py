"""One connection to Redis, with requests under way on it one behind the other.

redis-py opens it: addresses, TLS, AUTH, SELECT and Sentinel are its business. From
then on the bytes are packed and parsed by hiredis in a protocol of ours, because one
``execute_command`` of redis-py costs several times what the rest of a take does, and
its connection answers one command at a time.

It knows replies and their order, and neither scripts nor buckets.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

Reply = object
"""What hiredis made of a reply; an error reply is a ``hiredis.ReplyError``."""


class RedisWire:
    """An open connection; an ``asyncio.Protocol`` by its methods.

    Args:
        connection: connected; redis-py lets go of it here.
        on_reply: called with each reply, in the order of the sends.
        on_lost: called once when the connection ends unless ``close`` ended it.

    Raises:
        RedisError: the connection has ended already.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        on_reply: Callable[[Reply], object],
        on_lost: Callable[[], object],
    ) -> None:
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._closed = False
        # redis-py has no public way to hand over its transport. The writer is kept
        # because it closes the transport when it is collected.
        writer, connection._writer = connection._writer, None  # noqa: SLF001
        if writer is None or writer.transport.is_closing():
            raise RedisError("the connection ended while it was being opened")
        self._writer = writer
        self._transport = writer.transport
        self._transport.set_protocol(cast("asyncio.Protocol", self))

    def send(self, command: tuple[str | int | bytes, ...]) -> None:
        """Send one command; its reply comes to ``on_reply``."""
        # hiredis types a tuple of any length as a tuple of one.
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]

    def close(self) -> None:
        """End the connection at once; no reply comes any more."""
        self._closed = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand on every reply that is complete (asyncio calls this)."""
        self._reader.feed(data)
        while not self._closed:
            try:
                reply = self._reader.gets()
            except hiredis.ProtocolError:
                self._transport.abort()
                return
            if reply is False:  # not complete; no command of ours answers a boolean
                return
            self._on_reply(reply)

    def pause_writing(self) -> None:
        """Go on: what Redis does not take soon is answered elsewhere, and dropped."""

    def resume_writing(self) -> None:
        """Go on."""

    def eof_received(self) -> bool:
        """Let the transport close itself (asyncio calls this)."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, unless it was our wish (asyncio calls this)."""
        del exc
        if not self._closed:
            self._on_lost()


async def open_wire(
    pool: ConnectionPool,
    script: str,
    on_reply: Callable[[Reply], object],
    on_lost: Callable[[], object],
) -> RedisWire:
    """Open a connection that is seen to answer, with ``script`` loaded.

    Args:
        pool: see ``RedisAddress``.
        script: Lua; loading it is the probe.
        on_reply: see ``RedisWire``.
        on_lost: see ``RedisWire``.

    Raises:
        RedisError: the server refuses, or does not answer as it should.
        OSError: there is no connection.
    """
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()
        await connection.send_command("SCRIPT", "LOAD", script)
        await connection.read_response()
        return RedisWire(connection, on_reply, on_lost)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
