"""Raw sockets for tests: a client that sees bytes, a backend that follows a script."""

import asyncio
import contextlib
import dataclasses
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import httptools

DEADLINE = 10.0
"""Seconds after which a test that waits has failed."""


@dataclasses.dataclass
class Answer:
    """A response as it was on the wire; ``lines`` keeps names as sent."""

    status: int = 0
    phrase: str = ""
    lines: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def __getitem__(self, name: str) -> str:
        """Return the one value of a field."""
        [value] = [value for key, value in self.lines if key.lower() == name.lower()]
        return value

    def __contains__(self, name: str) -> bool:
        """Say whether the field is there."""
        return any(key.lower() == name.lower() for key, _ in self.lines)

    def on_status(self, phrase: bytes) -> None:
        """Note the phrase."""
        self.phrase += phrase.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a line."""
        self.lines.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, chunk: bytes) -> None:
        """Note bytes of the body."""
        self.body += chunk

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True


class Client:
    """One connection to a port on loopback."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> Answer:
        """Read one whole response, byte by byte so that none of the next is taken.

        Args:
            head: whether it answers HEAD and so has no body.
        """
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        async with asyncio.timeout(DEADLINE):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            parser.feed_data(raw)
            answer.status = parser.get_status_code()
            until_close = (
                "content-length" not in answer and "transfer-encoding" not in answer
            )
            if head or answer.status in (100, 204, 304):
                return answer
            while not answer.complete:
                if until_close:
                    answer.body += await self.reader.read()
                    return answer
                byte = await self.reader.read(1)
                if not byte:
                    return answer
                parser.feed_data(byte)
        return answer

    async def request(self, data: bytes, *, head: bool = False) -> Answer:
        """Send bytes, read one response."""
        await self.send(data)
        return await self.answer(head=head)

    async def rest(self) -> bytes:
        """Return what comes until the connection is closed."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Break the connection with a reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Client], Awaitable[None]]


@contextlib.asynccontextmanager
async def backend(
    script: Script, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Run a backend that plays ``script`` on each connection; yield its port."""
    open_ones: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones[task] = writer
        client = Client(reader, writer)
        try:
            await script(client)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy closed first, which scripts may well expect
        finally:
            del open_ones[task]
            writer.close()

    server = await asyncio.start_server(play, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones.values():
            writer.transport.abort()
        if open_ones:
            await asyncio.wait(open_ones, timeout=DEADLINE)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until ``condition()`` holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - others set what is watched
            await asyncio.sleep(0.005)
