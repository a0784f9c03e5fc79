"""The side that backends are on: a pool of connections, one exchange at a time each.

An answer belongs to one request. A connection that says anything while nobody asked,
or more than its answer, is closed and never used again; so is one whose request was
not wholly sent when the answer ended. Nothing that was received on it reaches
another client.

A request is sent a second time in one case only: the connection was a kept-alive one
that closed before a byte of the answer came, and the method is idempotent and the body
is at hand (RFC 9110 section 9.2.2). ``may_retry`` decides that, purely.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import httptools

from proxy.core.errors import Refused
from proxy.core.message import Body, RawHeaders, Response
from proxy.core.policy import Backend, Server, Timeouts
from proxy.core.reasons import Reason
from proxy.edge.body import BodyStream
from proxy.edge.waiter import Step, Waiter, step

NEVER = float("inf")
HEAD_BYTES = 64 * 1024
"""The largest head of an answer; twice what is taken from clients (cookies)."""
INTERIM = 16
"""How many 1xx answers may precede an answer."""
IDEMPOTENT = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"))


def may_retry(method: str, *, reused: bool, answered: bool, replayable: bool) -> bool:
    """Say whether a request that got no answer may be sent again."""
    return reused and not answered and replayable and method in IDEMPOTENT


class _Broken(Exception):  # noqa: N818 - a signal inside this file
    """The connection ended before its answer's head."""

    def __init__(self, *, answered: bool) -> None:
        super().__init__()
        self.answered = answered


class UpstreamConnection(asyncio.Protocol):
    """One connection to one server.

    Attributes:
        deadline: loop time at which the wait for the backend has been long enough.
        reused: whether the exchange under way is not its first.
    """

    __slots__ = (
        "_body",
        "_drained",
        "_head_bytes",
        "_headers",
        "_interim",
        "_keep_alive",
        "_length",
        "_method",
        "_paused",
        "_phrase",
        "_pool",
        "_pump",
        "_response",
        "_sent",
        "_timeouts",
        "_transport",
        "_until_close",
        "_parser",
        "_violated",
        "_waiter",
        "_write_paused",
        "deadline",
        "reused",
    )

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._timeouts = pool.timeouts
        self._waiter: Waiter[Response] | None = None
        self._drained: Waiter[None] | None = None
        self._pump: Step | None = None
        self._response: Response | None = None
        self._body: BodyStream | None = None
        self._headers: RawHeaders = []
        self._phrase = b""
        self._method = ""
        self._length: int | None = None
        self._head_bytes = 0
        self._interim = 0
        self._keep_alive = True
        self._sent = True
        self._until_close = False
        self._paused = False
        self._violated = False
        self._write_paused = False
        self.deadline = NEVER
        self.reused = False

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pool.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End whatever was being received."""
        self._transport = None
        self.deadline = NEVER
        self._pool.lost(self)
        if self._drained is not None:
            self._drained.set(None)
        if self._body is not None and self._until_close and exc is None:
            body, self._body = self._body, None
            body.finish()
            body.wake()
        self._fail(Reason.UPSTREAM_RESET)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; then wake whoever waits for it, once."""
        if self._waiter is None and self._body is None:
            self._violate()  # Nobody asked.
            return
        self.deadline = self._pool.now() + self._timeouts.idle
        if self._response is None:
            self._head_bytes += len(data)
        body = self._body
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._violate()
        if self._response is None and self._head_bytes > HEAD_BYTES:
            self._violate()
        response = self._response
        if response is None or (self._violated and self._body is not None):
            if self._violated:
                self._fail(Reason.UPSTREAM_PROTOCOL)
            return
        waiter, self._waiter = self._waiter, None
        if self._body is None:
            self._release()
        if waiter is not None:
            waiter.set(response)
        elif body is not None:
            body.wake()

    def pause_writing(self) -> None:
        """Note that the backend does not take what was written to it."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let the pump write on."""
        self._write_paused = False
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set(None)

    # -- what llhttp calls

    def on_message_begin(self) -> None:
        """Begin an answer; a second one that nobody asked for is a violation."""
        if self._response is not None:
            self._violated = True
        self._headers = []
        self._phrase = b""

    def on_status(self, phrase: bytes) -> None:
        """Note the reason phrase."""
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field line; trailers are dropped."""
        if self._response is None:
            self._headers.append((name.lower(), name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is known: make the Response, unless it is an interim one."""
        status = self._parser.get_status_code()
        if self._response is not None:
            self._violated = True
            return
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM:
                self._violated = True
            return
        bodiless = self._method == "HEAD" or status in (204, 304)
        framing = _framing(self._headers, self._parser.get_http_version())
        if framing is None or status > 599:
            self._violated = True
            return
        length, chunked, self._keep_alive = framing
        body = BodyStream(self._pause, self._resume)
        body.abandoned = self.close
        self._until_close = not bodiless and length is None and not chunked
        self._response = Response(
            status, self._phrase, self._headers, body, length, bodiless
        )
        self._body = body
        if bodiless:
            body.finish()
            self._body = None

    def on_body(self, chunk: bytes) -> None:
        """Hand bytes of the body to whoever reads them."""
        if self._body is None:
            self._violated = True  # A body where there can be none.
        else:
            self._body.feed(chunk)

    def on_message_complete(self) -> None:
        """End the body."""
        if self._response is not None and self._body is not None:
            self._body.finish()
            self._body = None

    # -- one exchange

    async def exchange(
        self,
        method: str,
        head: bytes,
        body: bytes | Body,
        timeouts: Timeouts,
        *,
        chunked: bool,
    ) -> Response:
        """Send a request and return the answer once its head has come.

        Raises:
            _Broken: the connection ended first.
            Refused: the backend was too slow, or broke the protocol.
        """
        transport = self._transport
        if transport is None:
            raise _Broken(answered=False)
        self._timeouts = timeouts
        self._method = method
        self._response = None
        self._head_bytes = 0
        self._interim = 0
        waiter: Waiter[Response] = Waiter()
        self._waiter = waiter
        self.deadline = self._pool.now() + timeouts.first_byte
        if isinstance(body, bytes):
            self._sent = True
            transport.write(head + body if body else head)
        else:
            self._sent = False
            transport.write(head)
            self._pump = step(
                self._send_body(transport, body, chunked=chunked), self._pump_failed
            )
        try:
            return await waiter
        except asyncio.CancelledError:
            self.close()
            raise

    async def _send_body(
        self, transport: asyncio.Transport, body: Body, *, chunked: bool
    ) -> None:
        while chunk := await body.read():
            if chunked:
                transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            else:
                transport.write(chunk)
            self.deadline = self._pool.now() + self._timeouts.idle
            if self._write_paused:
                self._drained = Waiter()
                await self._drained
        if chunked:
            transport.write(b"0\r\n\r\n")
        self._sent = True
        if self._response is None:
            self.deadline = self._pool.now() + self._timeouts.first_byte

    def _pump_failed(self, error: BaseException) -> None:
        """Give up an exchange whose request body broke off."""
        waiter, self._waiter = self._waiter, None
        self.close()
        if waiter is not None:
            waiter.fail(error)

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self._fail(Reason.UPSTREAM_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Break the connection; it is never used again."""
        self.deadline = NEVER
        if self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _violate(self) -> None:
        self._violated = True
        self.close()

    def _fail(self, reason: Reason) -> None:
        waiter, self._waiter = self._waiter, None
        body, self._body = self._body, None
        if waiter is not None:
            if reason is Reason.UPSTREAM_RESET:
                answered = self._head_bytes > 0
                waiter.fail(_Broken(answered=answered))
            else:
                waiter.fail(Refused(reason))
        if body is not None:
            body.fail(Refused(reason))

    def _release(self) -> None:
        """Give the connection back after a whole answer, if it can be used again."""
        self.deadline = NEVER
        reusable = (
            self._sent
            and not self._violated
            and not self._until_close
            and self._keep_alive
        )
        if self._pump is not None:
            if self._sent:
                self._pump = None
            else:
                self.close()
                return
        if not reusable or self._transport is None:
            self.close()
            return
        if self._method == "HEAD":  # llhttp still waits for the body it announced
            self._parser = httptools.HttpResponseParser(self)
        self._pool.release(self)

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self.deadline = self._pool.now() + self._timeouts.idle
            self._transport.resume_reading()


def _framing(headers: RawHeaders, version: str) -> tuple[int | None, bool, bool] | None:
    """Return (length, chunked, keep alive) as a header section says; None if unclear.

    Asked here and not of llhttp, which does not know that an answer to HEAD has no
    body, and forgets what it read once a message is complete.
    """
    length: int | None = None
    chunked = False
    keep_alive = version == "1.1"
    for lower, _, value in headers:
        if lower == b"content-length":
            if length is not None or not value.isdigit():
                return None
            length = int(value)
        elif lower == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                return None
            chunked = True
        elif lower == b"connection":
            tokens = [token.strip() for token in value.lower().split(b",")]
            keep_alive = b"close" not in tokens and (
                keep_alive or b"keep-alive" in tokens
            )
    if chunked and length is not None:
        return None
    return length, chunked, keep_alive


class Pool:
    """The connections to one server.

    Attributes:
        idle: connections that wait for a request; the last used is used first.
        busy: how many are in an exchange.
        connecting: how many are being made.
    """

    def __init__(
        self,
        server: Server,
        timeouts: Timeouts,
        *,
        max_connections: int = 1024,
        max_waiting: int = 1024,
    ) -> None:
        self.server = server
        self.timeouts = timeouts
        self.idle: list[UpstreamConnection] = []
        self.all: set[UpstreamConnection] = set()
        self.connecting = 0
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._waiting: deque[Waiter[UpstreamConnection]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        """How many connections are in an exchange."""
        return len(self.all) - len(self.idle)

    async def exchange(
        self,
        method: str,
        head: bytes,
        body: bytes | Body,
        timeouts: Timeouts,
        *,
        chunked: bool = False,
    ) -> Response:
        """Send a request on a connection of this pool and return the answer.

        Raises:
            Refused: an UPSTREAM_* reason, or whatever reading ``body`` raised.
        """
        fresh = False
        while True:
            connection = await self._acquire(fresh=fresh)
            try:
                return await connection.exchange(
                    method, head, body, timeouts, chunked=chunked
                )
            except _Broken as broken:
                if not may_retry(
                    method,
                    reused=connection.reused,
                    answered=broken.answered,
                    replayable=isinstance(body, bytes),
                ):
                    raise Refused(Reason.UPSTREAM_RESET) from None
                fresh = True

    async def _acquire(self, *, fresh: bool) -> UpstreamConnection:
        if not fresh and self.idle:
            connection = self.idle.pop()
            connection.reused = True
            return connection
        if len(self.all) + self.connecting < self._max_connections:
            self._connect()
        elif len(self._waiting) - self.connecting >= self._max_waiting:
            raise Refused(Reason.UPSTREAM_BUSY, headers=(("Retry-After", "1"),))
        waiter: Waiter[UpstreamConnection] = Waiter()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done:  # the connection came while we were being cancelled
                self.release(waiter.result())
            else:
                self._waiting.remove(waiter)
            raise

    def _connect(self) -> None:
        self.connecting += 1
        task = self._loop.create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self.timeouts.connect):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self), self.server.host, self.server.port
                )
        except TimeoutError:
            self.connecting -= 1
            self._not_connected(
                Refused(Reason.UPSTREAM_TIMEOUT, "It did not take the connection.")
            )
        except OSError:
            self.connecting -= 1
            self._not_connected(Refused(Reason.UPSTREAM_REFUSED))
        else:
            self.connecting -= 1
            self._hand_over(connection)

    def _not_connected(self, refused: Refused) -> None:
        if self._waiting:
            self._waiting.popleft().fail(refused)

    def _hand_over(self, connection: UpstreamConnection) -> None:
        if self._waiting:
            self._waiting.popleft().set(connection)
        else:
            self.idle.append(connection)

    def opened(self, connection: UpstreamConnection) -> None:
        """Note a connection that stands."""
        self.all.add(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back after an exchange."""
        connection.reused = True
        connection.deadline = self.now() + self.timeouts.idle
        self._hand_over(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection; make another one if somebody waits."""
        self.all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if len(self._waiting) > self.connecting:
            self._connect()

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        for connection in [one for one in self.all if one.deadline < now]:
            connection.expire()

    async def close(self) -> None:
        """Close every connection."""
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self.all):
            connection.close()
        await asyncio.sleep(0)


class Upstreams:
    """Every server of every backend; picks one with the least outstanding requests.

    Args:
        is_up: what the active health checks say; a server nobody checked is up.
    """

    def __init__(self, is_up: Callable[[str, Server], bool]) -> None:
        self._is_up = is_up
        self._pools: dict[str, dict[Server, Pool]] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch deadlines."""
        now = self._loop.time()
        interval = 1.0
        for pools in self._pools.values():
            for pool in pools.values():
                pool.sweep(now)
                interval = min(interval, pool.timeouts.first_byte / 8)
        self._sweeper = self._loop.call_later(max(0.02, interval), self.start)

    def configure(self, backends: Iterable[Backend]) -> None:
        """Have a pool for every server of ``backends``; known ones are kept."""
        for backend in backends:
            known = self._pools.setdefault(backend.id, {})
            for server in backend.servers:
                pool = known.get(server)
                if pool is None:
                    known[server] = Pool(server, backend.timeouts)
                else:
                    pool.timeouts = backend.timeouts

    def exchange(
        self,
        backend: Backend,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Coroutine[Any, Any, Response]:
        """Exchange with the least busy healthy server; see ``Pool.exchange``.

        Args:
            backend: one of those configured.
            method: upper case.
            head: the request line and every field line, framing and the empty line
                included.
            body: all of it, or the stream.
            chunked: whether a stream is sent in chunks, because its head says so.
        """
        pools = self._pools[backend.id]
        if len(backend.servers) == 1:
            pool = pools[backend.servers[0]]
        else:
            up = [one for one in backend.servers if self._is_up(backend.id, one)]
            pool = min(
                (pools[server] for server in up or backend.servers),
                key=lambda one: one.busy + one.connecting,
            )
        return pool.exchange(method, head, body, backend.timeouts, chunked=chunked)

    def snapshot(self) -> list[tuple[str, str, int]]:
        """Return (backend, state, connections) for every backend and state."""
        rows = []
        for backend, pools in self._pools.items():
            rows.append((backend, "idle", sum(len(one.idle) for one in pools.values())))
            rows.append((backend, "active", sum(one.busy for one in pools.values())))
            rows.append(
                (backend, "connecting", sum(one.connecting for one in pools.values()))
            )
        return rows

    async def close(self) -> None:
        """Close every connection of every pool."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pools in self._pools.values():
            for pool in pools.values():
                await pool.close()
