"""How connections come to a listener: over TLS, through a load balancer, so many."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.core.message import Request
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.room import Room, connections_for, descriptors
from proxy.edge.sockets import bind, bind_unix, closing, remove
from proxy.edge.tls import Tls, context_for_server
from proxy.edge.tunnels import Tunnels
from proxy.ports import Downstream
from tests.certificates import Authority
from tests.wire import Client, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((192, 0, 2, 7)) + bytes(8)


class Handler:
    """Answers with who the client is, and waits while it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failures: list[BaseException] = []

    async def handle(self, request: Request, downstream: Downstream) -> None:
        """Answer."""
        await self.go_on.wait()
        trusted = "trusted" if request.peer_trusted else "untrusted"
        secure = "secure" if request.secure else "plain"
        text = f"{request.peer} {trusted} {secure}"
        downstream.send(200, b"OK", [], text.encode())

    def reject(self, refused: Exception, downstream: Downstream) -> None:
        """Refuse."""
        downstream.close_after_answer()
        downstream.send(400, b"Bad Request", [], str(refused).encode())


@contextlib.asynccontextmanager
async def listening(
    sockets: list[socket.socket] | None = None,
    *,
    tls: Tls | None = None,
    proxy_protocol: bool = False,
    most: int | None = None,
    room: Room | None = None,
    trusted: tuple[str, ...] = ("127.0.0.1",),
) -> AsyncIterator[tuple[Listener, Handler]]:
    """Run a listener with short patience."""
    handler = Handler()
    listener = Listener(
        handler,
        WireLimits(head_seconds=0.3, linger_seconds=0.2),
        tunnels=Tunnels(),
        trusts=lambda address: address in trusted,
        on_failure=handler.failures.append,
        room=room,
    )
    listener.configure(tls, most, proxy_protocol=proxy_protocol)
    await listener.start(sockets or bind("127.0.0.1", 0))
    try:
        yield listener, handler
    finally:
        handler.go_on.set()
        await listener.stop()
        assert not handler.failures


async def said(port: int, *parts: bytes) -> str:
    """Return the body of the answer to bytes that are sent one after the other."""
    client = await Client.connect(port)
    try:
        for part in parts:
            await client.send(part)
            await asyncio.sleep(0.01)  # so that they arrive one after the other
        return (await client.answer()).body.decode()
    finally:
        await client.close()


async def ended(port: int, data: bytes) -> bytes:
    """Return what comes before a connection is closed."""
    client = await Client.connect(port)
    try:
        await client.send(data)
        return await client.rest()
    finally:
        await client.close()


# -- the PROXY protocol


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ((b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n" + GET,), "192.0.2.7 untrusted"),
        ((b"PROXY TCP4 127.0.0.1 10.0.0.1 1 2\r\n" + GET,), "127.0.0.1 trusted"),
        ((V2 + GET,), "192.0.2.7 untrusted"),
        ((V2[:5], V2[5:20], V2[20:] + GET[:9], GET[9:]), "192.0.2.7 untrusted"),
        ((b"PROXY UNKNOWN\r\n" + GET,), "127.0.0.1 trusted"),
        ((b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", GET), "2001:db8::7 untrusted"),
    ],
    ids=["v1", "through-another", "v2", "in-pieces", "unknown", "v6"],
)
async def test_trusted_peer_says_who_the_client_is(
    parts: tuple[bytes, ...], answer: str
) -> None:
    """And what that client says in its fields is believed only if it is trusted too."""
    async with listening(proxy_protocol=True) as (listener, _):
        assert await said(listener.port, *parts) == f"{answer} plain"


async def test_who_is_not_trusted_is_not_asked() -> None:
    """A header from somebody else is no request, and says nothing."""
    async with listening(proxy_protocol=True, trusted=()) as (listener, _):
        assert await said(listener.port, GET) == "127.0.0.1 untrusted plain"
        answer = await ended(listener.port, V2 + GET)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"192.0.2.7" not in answer


async def test_nobody_is_asked_where_the_policy_does_not_say_so() -> None:
    """A header that nobody expects is no request."""
    async with listening() as (listener, _):
        line = b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"
        answer = await ended(listener.port, line + GET)

        assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [GET, b"PROXY TCP4 x\r\n" + GET, V2[:20], b"", b"PROXY "],
    ids=["none", "malformed", "half", "nothing", "beginning"],
)
async def test_trusted_peer_without_a_header_is_not_served(data: bytes) -> None:
    """Or one whose header is not complete in time."""
    async with listening(proxy_protocol=True) as (listener, _):
        assert await ended(listener.port, data) == b""
        await eventually(lambda: listener.connections == 0)

        assert listener.refused == 1
        assert await said(listener.port, V2 + GET) == "192.0.2.7 untrusted plain"


async def test_peer_that_leaves_within_its_header_is_forgotten() -> None:
    """Its descriptor too."""
    async with listening(proxy_protocol=True) as (listener, _):
        client = await Client.connect(listener.port)
        await client.send(V2[:9])
        await eventually(lambda: listener.connections == 1)
        await client.close()

        await eventually(lambda: listener.connections == 0)
        assert listener.refused == 1


# -- TLS


@pytest.fixture(name="authority")
def authority_fixture(tmp_path: Path) -> Authority:
    """An authority of this test's own."""
    return Authority(tmp_path)


def client_context(authority: Authority) -> ssl.SSLContext:
    """Return a context that trusts an authority."""
    return ssl.create_default_context(cafile=authority.file)


async def connect(port: int, context: ssl.SSLContext, before: bytes = b"") -> Client:
    """Shake hands, after bytes that are sent in the clear."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(before)
    raw.setblocking(False)
    return Client(
        *await asyncio.open_connection(
            sock=raw, ssl=context, server_hostname="lms.test"
        )
    )


async def test_requests_come_over_tls(authority: Authority) -> None:
    """In version 1.3, with the protocol that is spoken inside; over and over."""
    certificate, key = authority.sign("lms.test")
    tls = context_for_server(certificate=certificate, key=key)
    context = client_context(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(tls=tls) as (listener, _):
        client = await connect(listener.port, context)
        answers = [(await client.request(GET)).body for _ in range(3)]
        session = client.writer.get_extra_info("ssl_object")
        version, protocol = session.version(), session.selected_alpn_protocol()
        await client.close()

        assert answers == [b"127.0.0.1 trusted secure"] * 3
        assert (version, protocol) == ("TLSv1.3", "http/1.1")
        await eventually(lambda: listener.connections == 0)


@pytest.mark.parametrize("spoken", [True, False], ids=["1.2-too", "1.3-only"])
async def test_old_versions_are_spoken_where_it_is_said(
    authority: Authority, spoken: bool
) -> None:
    """TLS 1.2 if the policy says so."""
    certificate, key = authority.sign("lms.test")
    oldest = ssl.TLSVersion.TLSv1_2 if spoken else ssl.TLSVersion.TLSv1_3
    tls = context_for_server(certificate=certificate, key=key, oldest=oldest)
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(tls=tls) as (listener, _):
        if spoken:
            client = await connect(listener.port, context)
            assert (await client.request(GET)).status == 200
            await client.close()
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connect(listener.port, context)
            await eventually(lambda: listener.refused == 1)


async def test_header_of_a_load_balancer_stands_before_tls(
    authority: Authority,
) -> None:
    """Not a byte of the handshake is taken with it."""
    certificate, key = authority.sign("lms.test")
    tls = context_for_server(certificate=certificate, key=key)
    async with listening(tls=tls, proxy_protocol=True) as (listener, _):
        client = await connect(listener.port, client_context(authority), V2)
        answer = await client.request(GET)
        await client.close()

        assert answer.body == b"192.0.2.7 untrusted secure"


async def test_certificate_is_renewed_for_new_connections(
    authority: Authority,
) -> None:
    """Those that stand go on."""
    certificate, key = authority.sign("lms.test")
    tls = context_for_server(certificate=certificate, key=key)
    context = client_context(authority)
    async with listening(tls=tls) as (listener, _):
        old = await connect(listener.port, context)
        assert authority.sign("lms.test") == (certificate, key)
        assert tls.reload(force=True)
        new = await connect(listener.port, context)
        serials = [
            one.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
            for one in (old, new)
        ]
        assert (await old.request(GET)).status == 200
        assert (await new.request(GET)).status == 200
        await old.close()
        await new.close()

        assert serials[0] != serials[1]


@pytest.mark.parametrize(
    "data", [GET, b"\x16\x03\x01", b""], ids=["plain", "half", "nothing"]
)
async def test_what_is_no_handshake_is_ended(authority: Authority, data: bytes) -> None:
    """At once, or after the time that a head may take."""
    certificate, key = authority.sign("lms.test")
    tls = context_for_server(certificate=certificate, key=key)
    async with listening(tls=tls) as (listener, _):
        answer = await ended(listener.port, data)

        assert not answer.startswith(b"HTTP")
        await eventually(lambda: listener.connections == 0)
        assert listener.refused == 1


async def test_client_that_closes_over_tls_is_gone(authority: Authority) -> None:
    """A close of TLS closes both directions: nobody waits for the answer."""
    certificate, key = authority.sign("lms.test")
    tls = context_for_server(certificate=certificate, key=key)
    async with listening(tls=tls) as (listener, handler):
        client = await connect(listener.port, client_context(authority))
        handler.go_on.clear()
        await client.send(GET)
        await eventually(lambda: listener.connections == 1)
        await client.close()

        await eventually(lambda: listener.connections == 0)


# -- room


async def test_more_than_there_is_room_for_wait() -> None:
    """And are served once somebody has left."""
    async with listening(most=2) as (listener, handler):
        handler.go_on.clear()
        busy = [await Client.connect(listener.port) for _ in range(2)]
        for one in busy:
            await one.send(GET)
        await eventually(lambda: listener.connections == 2)
        late = await Client.connect(listener.port)
        await late.send(GET)
        await asyncio.sleep(0.05)
        assert listener.connections == 2
        handler.go_on.set()
        await busy[0].answer()
        await busy[0].close()

        assert (await late.answer()).status == 200
        await busy[1].close()
        await late.close()


async def test_idle_connection_makes_room() -> None:
    """The one that said nothing for longest goes; who is busy is not touched."""
    async with listening(most=3) as (listener, handler):
        first, second = [await Client.connect(listener.port) for _ in range(2)]
        await first.request(GET)
        await asyncio.sleep(0.02)  # the loop's clock has milliseconds
        await second.request(GET)
        handler.go_on.clear()
        busy = await Client.connect(listener.port)
        await busy.send(GET)
        await eventually(lambda: listener.connections == 3)
        late = await Client.connect(listener.port)
        assert await first.rest() == b""
        await late.send(GET)
        handler.go_on.set()

        assert (await late.answer()).status == 200
        assert (await busy.answer()).status == 200
        assert (await second.request(GET)).status == 200
        for one in (first, second, busy, late):
            await one.close()


async def test_listeners_share_room() -> None:
    """What one has, the other has not, until it is given back."""
    room = Room(2)
    async with (
        listening(room=room) as (one, handler),
        listening(room=room) as (other, _),
    ):
        handler.go_on.clear()
        held = [await Client.connect(one.port) for _ in range(2)]
        for client in held:
            await client.send(GET)
        await eventually(lambda: one.connections == 2)
        late = await Client.connect(other.port)
        await late.send(GET)
        await asyncio.sleep(0.05)
        assert other.connections == 0
        held[0].reset()  # a close might be a half-close, whose answer is waited for

        assert (await late.answer()).status == 200
        handler.go_on.set()
        await held[1].close()
        await late.close()


def test_descriptors_leave_room_for_backends() -> None:
    """As many as for clients, up to what two servers' breakers allow."""
    assert descriptors() > 0
    assert [connections_for(most) for most in (1, 64, 128, 1024, 20_000)] == [
        *(1, 1, 32, 480, 17_888),
    ]


# -- unix sockets


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    """Where a socket is made."""
    return tmp_path / "socket"


@pytest.mark.parametrize("trusted", [("",), ()], ids=["trusted", "untrusted"])
async def test_unix_socket_is_listened_at(path: Path, trusted: tuple[str, ...]) -> None:
    """Its peers have no address, and are believed where it is said."""
    async with listening(bind_unix(str(path)), trusted=trusted) as (listener, _):
        client = Client(*await asyncio.open_unix_connection(path))
        answer = await client.request(GET)
        await client.close()
        word = "trusted" if trusted else "untrusted"

        assert answer.body.decode() == f" {word} plain"
        assert listener.port == 0


def test_socket_of_a_process_that_is_gone_is_replaced(path: Path) -> None:
    """One that somebody listens at is not, nor is a file that is no socket."""
    with closing(bind_unix(str(path))):
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(OSError, match="already in use"):
            bind_unix(str(path))
    assert path.is_socket()
    with closing(bind_unix(str(path))):
        pass
    remove(str(path))
    remove(str(path))
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        bind_unix(str(path))

    assert path.read_text() == "precious"
