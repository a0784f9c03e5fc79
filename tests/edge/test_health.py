"""Health checks against real servers that fail, hang, lie, vanish and recover."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from proxy.core.backends import Backend, HealthCheck, Server
from proxy.edge.health import HealthChecks
from tests.wire import Client, backend, eventually

EVERY = 0.05
"""Seconds between checks, and for each: tests wait for several."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Scripted:
    """A server that gives one answer to every request, and notes them."""

    def __init__(self) -> None:
        self.answer = OK
        self.hangs = False
        self.resets = False
        self.requests: list[bytes] = []
        self.port = 0

    async def play(self, client: Client) -> None:
        """Answer until the client leaves."""
        while True:
            self.requests.append(await client.reader.readuntil(b"\r\n\r\n"))
            if self.resets:
                client.reset()
                return
            if self.hangs:
                await client.reader.read()
                return
            await client.send(self.answer)

    @property
    def server(self) -> Server:
        """Where it is."""
        return Server(host="127.0.0.1", port=self.port)

    async def asked(self, times: int = 3) -> None:
        """Wait until it was asked so many times more."""
        until = len(self.requests) + times
        await eventually(lambda: len(self.requests) >= until)


@contextlib.asynccontextmanager
async def scripted(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Scripted]:
    """Run such a server; port 0 is any free one."""
    server = Scripted()
    async with backend(server.play, host, port) as server.port:
        yield server


@contextlib.asynccontextmanager
async def checking(*backends: Backend) -> AsyncIterator[HealthChecks]:
    """Check these backends for the length of a block."""
    checks = HealthChecks()
    checks.configure(backends)
    try:
        yield checks
    finally:
        await checks.stop()


def checked(*servers: Server, path: str = "/health", every: float = EVERY) -> Backend:
    """Return a backend with a health check."""
    health = HealthCheck(path=path, every=every)
    return Backend(id="lms", servers=servers, health=health)


def states(checks: HealthChecks, servers: Sequence[Server]) -> list[bool]:
    """Return whether each is up."""
    return [checks.is_up("lms", server) for server in servers]


async def test_server_that_answers_stays_up() -> None:
    """It is asked again and again, for the path that the policy says."""
    async with (
        scripted() as server,
        checking(checked(server.server, path="/health?full=1")) as checks,
    ):
        await server.asked(3)

        assert checks.is_up("lms", server.server)
        assert checks.snapshot() == [("lms", f"127.0.0.1:{server.port}", True)]
        assert server.requests[0].startswith(b"GET /health?full=1 HTTP/1.1\r\n")


async def test_nobody_is_down_before_the_checks_said_so() -> None:
    """Unknown servers and those not asked yet get requests."""
    checks = HealthChecks()
    assert checks.is_up("lms", Server(host="127.0.0.1", port=1))
    assert checks.snapshot() == []
    checks.configure([checked(Server(host="127.0.0.1", port=1), every=60.0)])

    assert checks.snapshot() == [("lms", "127.0.0.1:1", True)]
    await checks.stop()


@pytest.mark.parametrize(
    "answer",
    [
        ERROR,
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 2000 Much\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field of any kind\r\n\r\n",
        b"\x00\xff" * 100 + b"\r\n\r\n",
    ],
    ids=[
        *("500", "503", "404", "redirect", "304", "ssh", "no-status", "bad-length"),
        *("long-field", "bad-field", "binary"),
    ],
)
async def test_other_answers_make_it_down(answer: bytes) -> None:
    """Only 2xx is healthy; a redirect is not followed, and nothing stops the checks."""
    async with scripted() as server:
        server.answer = answer
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            assert checks.snapshot() == [("lms", f"127.0.0.1:{server.port}", False)]
            server.answer = OK

            await eventually(lambda: checks.is_up("lms", server.server))


@pytest.mark.parametrize(
    "answer", [OK, NO_CONTENT, ENDLESS], ids=["200", "204", "body"]
)
async def test_every_2xx_is_healthy(answer: bytes) -> None:
    """Its body is not waited for."""
    async with scripted() as server:
        server.answer = ERROR
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            server.answer = answer

            await eventually(lambda: checks.is_up("lms", server.server))


async def test_server_that_hangs_is_down() -> None:
    """A check that takes longer than its turn has failed; the next one comes."""
    async with scripted() as server:
        server.hangs = True
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            server.hangs = False

            await eventually(lambda: checks.is_up("lms", server.server))


async def test_server_that_resets_is_down() -> None:
    """A connection that breaks is a failure."""
    async with scripted() as server:
        server.resets = True
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))


async def test_server_that_is_not_there_comes_back() -> None:
    """Down while nobody listens, up as soon as somebody does, and down again."""
    async with scripted() as gone:
        port = gone.port
    where = Server(host="127.0.0.1", port=port)
    async with checking(checked(where)) as checks:
        await eventually(lambda: not checks.is_up("lms", where))
        async with scripted(port=port):
            await eventually(lambda: checks.is_up("lms", where))
        await eventually(lambda: not checks.is_up("lms", where))


async def test_one_failure_is_no_reason() -> None:
    """Two in a row make a server down; one success makes it up again."""
    ups: list[bool] = []

    async def alternate(client: Client) -> None:
        while True:
            await client.reader.readuntil(b"\r\n\r\n")
            ups.append(checks.is_up("lms", where))
            await client.send(ERROR if len(ups) % 2 else OK)

    async with backend(alternate) as port:
        where = Server(host="127.0.0.1", port=port)
        async with checking(checked(where, every=0.2)) as checks:
            await eventually(lambda: len(ups) >= 6)

    assert all(ups)


@pytest.mark.parametrize("name", ["nowhere.invalid", "a" * 64 + ".invalid", "a..b"])
async def test_name_that_does_not_resolve_is_down(name: str) -> None:
    """Like an address that does not answer, even where it cannot be a name."""
    where = Server(host=name, port=80)
    async with checking(checked(where)) as checks:
        await eventually(lambda: not checks.is_up("lms", where))


async def test_ipv6_is_asked_with_brackets() -> None:
    """And shown as the address of the server is."""
    async with scripted("::1") as server:
        where = Server(host="::1", port=server.port)
        async with checking(checked(where)) as checks:
            await server.asked()

            assert checks.snapshot() == [("lms", f"[::1]:{server.port}", True)]
            assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


async def test_each_server_has_its_own_state() -> None:
    """One that is down does not pull the other along."""
    async with scripted() as good, scripted() as bad:
        bad.answer = ERROR
        servers = good.server, bad.server
        async with checking(checked(*servers)) as checks:
            await eventually(lambda: states(checks, servers) == [True, False])
            await good.asked()

            assert states(checks, servers) == [True, False]
            assert sorted(up for _, _, up in checks.snapshot()) == [False, True]


async def test_state_belongs_to_a_server_of_a_backend() -> None:
    """The same server may be healthy for one backend and not for another."""
    async with scripted() as server:
        server.answer = ERROR
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))

            assert checks.is_up("files", server.server)


async def test_configure_adds_and_removes() -> None:
    """After a reload new servers are asked, and old ones never again."""
    async with scripted() as old, scripted() as new:
        old.answer = new.answer = ERROR
        async with checking(checked(old.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", old.server))
            checks.configure([checked(new.server)])
            assert checks.is_up("lms", old.server)
            assert [where for _, where, _ in checks.snapshot()] == [
                f"127.0.0.1:{new.port}"
            ]
            await new.asked()
            asked = len(old.requests)
            await new.asked()

            assert len(old.requests) <= asked + 1
            assert checks.is_up("lms", old.server)


async def test_backend_without_a_check_is_not_asked() -> None:
    """Nor one whose check a reload took away, which counts as up from then on."""
    async with scripted() as server:
        server.answer = ERROR
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            checks.configure([Backend(id="lms", servers=(server.server,))])

            assert checks.snapshot() == []
            assert checks.is_up("lms", server.server)


async def test_reload_without_a_change_changes_nothing() -> None:
    """A server that is down stays so, and is not asked twice as often."""
    async with scripted() as server:
        server.answer = ERROR
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            checks.configure([checked(server.server)])

            assert not checks.is_up("lms", server.server)
            assert len(checks.snapshot()) == 1


async def test_reload_of_another_check_does_not_make_it_up() -> None:
    """A server that is down gets no requests for the sake of another path."""
    async with scripted() as server:
        server.answer = ERROR
        async with checking(checked(server.server)) as checks:
            await eventually(lambda: not checks.is_up("lms", server.server))
            checks.configure([checked(server.server, path="/ready")])
            assert not checks.is_up("lms", server.server)
            server.answer = OK

            await eventually(lambda: checks.is_up("lms", server.server))
            assert server.requests[-1].startswith(b"GET /ready ")


async def test_stop_stops_asking() -> None:
    """Also a check that is under way, and one of a server that was taken away."""
    async with scripted() as hanging, scripted() as server:
        hanging.hangs = True
        checks = HealthChecks()
        checks.configure([checked(hanging.server, server.server, every=1.0)])
        await eventually(lambda: bool(hanging.requests and server.requests))
        checks.configure([checked(server.server, every=1.0)])
        await checks.stop()

        assert checks.snapshot() == []
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "_watch" in repr(task)]


async def test_changes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A line when a server goes down and one when it comes back, with its address."""
    async with scripted() as server:
        server.answer = ERROR
        with caplog.at_level(logging.INFO, "lumina.health"):
            async with checking(checked(server.server)) as checks:
                await eventually(lambda: not checks.is_up("lms", server.server))
                await server.asked(3)
                server.answer = OK
                await eventually(lambda: checks.is_up("lms", server.server))
                await server.asked(3)

    assert [record.getMessage() for record in caplog.records] == [
        f"backend lms: 127.0.0.1:{server.port} is down",
        f"backend lms: 127.0.0.1:{server.port} is up",
    ]
