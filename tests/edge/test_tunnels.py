"""Upgraded connections: what gets through to become one, and what ends it."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.edge.tls import context_for_server
from proxy.edge.tunnel import MANY_FRAMES
from tests.certificates import Authority
from tests.whole_proxy import POLICY, WholeProxy, client_of, token, whole_proxy
from tests.wire import DEADLINE, Client, eventually

KEY = base64.b64encode(bytes(16)).decode()
LONG = b"\x82\x7f" + (1_000_000).to_bytes(8, "big") + bytes(1_000_000)
"""A frame that does not fit into the buffers of sockets."""
TEXT = b"\x81\x05hello"
"""A frame of text as servers send it."""
MASKED = b"\x81\x85\x00\x00\x00\x00hello"
"""The same as clients send it."""
CLOSED = {1001: b"\x88\x02\x03\xe9", 1008: b"\x88\x02\x03\xf0"}
"""Close frames as servers send them."""
ANSWERED = {code: b"\x88\x82\0\0\0\0" + one[2:] for code, one in CLOSED.items()}
"""The same as clients answer with them."""


def handshake(path: str = "/room", who: str | None = None, **fields: str) -> bytes:
    """Return a request for a WebSocket."""
    lines = {
        "Host": "lms.example",
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **({"Authorization": f"Bearer {who}"} if who else {}),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    head = [f"GET {path} HTTP/1.1", *(f"{key}: {one}" for key, one in lines.items())]
    return "\r\n".join([*head, "", ""]).encode()


def switching(protocol: str = "websocket", more: str = "") -> bytes:
    """Return a 101."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
        f"Sec-WebSocket-Accept: accepted\r\n{more}\r\n"
    ).encode()


async def tls_client(port: int) -> Client:
    """Connect over TLS, believing anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


class Backend:
    """A backend that switches protocols and echoes, and keeps its connections.

    Attributes:
        heads: of the requests it got.
        sides: its end of every connection that it has switched.
        answer: what it says to a request for an upgrade.
    """

    def __init__(self, answer: bytes | None = None) -> None:
        self.heads: list[bytes] = []
        self.sides: list[Client] = []
        self.answer = switching() if answer is None else answer

    async def play(self, client: Client) -> None:
        """Answer requests; once switched, leave the connection to the test."""
        while True:
            head = await client.reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if b"upgrade:" not in head.lower():
                await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            await client.send(self.answer)
            if b" 101 " in self.answer:
                self.sides.append(client)
                await client.writer.wait_closed()
                return


@contextlib.asynccontextmanager
async def switched(
    backend: Backend, request: bytes
) -> AsyncIterator[tuple[WholeProxy, Client, Client]]:
    """Yield a proxy, and both sides of a tunnel through it."""
    async with whole_proxy(backend.play) as proxy, client_of(proxy) as client:
        await client.send(request)
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        yield proxy, client, backend.sides[0]


async def test_a_websocket_passes_both_ways() -> None:
    """The handshake's own fields pass end to end, and then every byte."""
    backend = Backend(switching(more="Sec-WebSocket-Protocol: chat\r\n"))
    asked = handshake(who=token(), Sec_WebSocket_Protocol="chat, superchat")
    async with whole_proxy(backend.play) as proxy, client_of(proxy) as client:
        await client.send(asked)
        answer = await client.reader.readuntil(b"\r\n\r\n")
        [side], [got] = backend.sides, backend.heads

        assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in got
        assert f"\r\nSec-WebSocket-Key: {KEY}\r\n".encode() in got
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in got
        assert b"\r\nSec-WebSocket-Protocol: chat, superchat\r\n" in got
        assert b"\r\nX-Lumina-Subject: ada\r\n" in got
        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" in answer
        assert b"\r\nSec-WebSocket-Accept: accepted\r\n" in answer
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in answer
        assert b"\r\nX-Request-ID: id-1\r\n" in answer
        assert not any(name in answer for name in (b"Content-Length", b"Transfer-"))
        await client.send(MASKED)
        assert await side.reader.readexactly(len(MASKED)) == MASKED
        await side.send(TEXT)
        assert await client.reader.readexactly(len(TEXT)) == TEXT
        [exchange] = proxy.seen.exchanges
        assert (exchange.status, exchange.rule) == (101, "room")
        assert not exchange.aborted
        assert proxy.tunnels.open_by_rule() == [(("room",), 1.0)]
        await client.close()
        await side.reader.read()
        await side.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("room", "client"), 1.0)]


async def test_early_bytes_are_held_until_the_answer() -> None:
    """What either side sends before the other knows arrives behind the handshake."""
    backend = Backend(switching() + TEXT)
    async with switched(backend, handshake(who=token()) + MASKED) as parts:
        _, client, side = parts

        assert await side.reader.readexactly(len(MASKED)) == MASKED
        assert await client.reader.readexactly(len(TEXT)) == TEXT


REFUSALS = {
    "without a token": (handshake(), 401),
    "a rule that has no upgrade": (handshake("/open/x"), 200),
    "another protocol": (handshake("/hall", Upgrade="h2c"), 200),
    "no path of a rule": (handshake("/nowhere"), 404),
    "HTTP/1.0": (
        handshake("/hall", Connection="keep-alive, upgrade").replace(b"/1.1", b"/1.0"),
        200,
    ),
    "a field that Connection does not name": (
        handshake("/hall", Connection="keep-alive"),
        200,
    ),
    "for the last time": (handshake("/hall", Connection="close, upgrade"), 200),
}


@pytest.mark.parametrize(("asked", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_an_upgrade_is_declined(asked: bytes, status: int) -> None:
    """The request is answered as any other, and nothing of an offer is forwarded."""
    backend = Backend()
    async with whole_proxy(backend.play) as proxy, client_of(proxy) as client:
        await client.send(asked)

        assert (await client.answer()).status == status
        assert not any(b"pgrade" in head for head in backend.heads)
        assert backend.sides == []


async def test_requests_go_on_behind_an_upgrade_that_was_declined() -> None:
    """What was held while it was not known what it is turns out to be HTTP."""
    backend = Backend()
    plain = b"GET /open/%d HTTP/1.1\r\nHost: a\r\n\r\n"
    async with whole_proxy(backend.play) as proxy, client_of(proxy) as client:
        await client.send(plain % 1 + handshake("/open/2") + plain % 3)
        await client.send(handshake("/open/4") + plain % 5)
        for _ in range(5):
            assert (await client.answer()).status == 200

        paths = [head.split(b" ")[1] for head in backend.heads]
        assert paths == [b"/open/%d" % number for number in range(1, 6)]


async def test_a_backend_may_decline() -> None:
    """Its answer is an answer, and the connection goes on with HTTP."""
    refusal = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
    backend = Backend(refusal)
    async with whole_proxy(backend.play) as proxy, client_of(proxy) as client:
        await client.send(handshake("/hall"))
        assert (await client.answer()).status == 426
        again = await client.request(b"GET /open/x HTTP/1.1\r\nHost: a\r\n\r\n")

        assert again.status == 200


BAD = {
    "another protocol than was offered": switching("shout"),
    "one that the client did not ask for": switching("websocket, shout"),
    "no protocol": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n",
    "a protocol that Connection does not name": (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n"
    ),
    "two protocols": switching(more="Upgrade: websocket\r\n"),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
async def test_a_101_that_nobody_asked_for_is_a_bad_gateway(answer: bytes) -> None:
    """The client is told so, and the backend's connection is closed."""
    async with whole_proxy(Backend(answer).play) as proxy, client_of(proxy) as client:
        await client.send(handshake("/hall"))

        assert (await client.answer()).status == 502
        await eventually(lambda: proxy.open_to_backend("idle", "active") == 0)


async def test_a_client_chooses_among_the_protocols_of_the_rule() -> None:
    """Its list is forwarded as far as the rule goes, and the answer names one."""
    backend = Backend(switching("SHOUT"))
    asked = handshake("/hall", Upgrade="h2c, Shout, foo/1, WebSocket")
    async with switched(backend, asked) as (_, client, side):
        await client.send(b"anything")

        assert b"\r\nUpgrade: Shout, WebSocket\r\n" in backend.heads[0]
        assert await side.reader.readexactly(8) == b"anything"


async def until_closed(client: Client) -> bytes:
    """Return what comes until the end of a connection."""
    async with asyncio.timeout(DEADLINE):
        return await client.reader.read()


async def told(client: Client, code: int) -> None:
    """Read a Close frame as a client does: answer it, and see the connection end."""
    assert await client.reader.readexactly(4) == CLOSED[code]
    await client.send(ANSWERED[code])
    assert await until_closed(client) == b""


async def told_masked(side: Client, code: int) -> None:
    """Read a Close frame as a server does: answer it, and see the connection end."""
    frame = await side.reader.readexactly(8)
    payload = bytes(a ^ b for a, b in zip(frame[6:], frame[2:6], strict=False))
    assert frame[:2] == b"\x88\x82"
    assert payload == code.to_bytes(2, "big")
    await side.send(CLOSED[code])
    assert await until_closed(side) == b""


async def test_a_websocket_ends_with_its_token() -> None:
    """Both sides are told 1008, in the form that each of them takes."""
    moment = [1_000_000.0]
    backend = Backend()
    who = token(exp=1_000_060)
    async with (
        whole_proxy(backend.play, wall=lambda: moment[0]) as proxy,
        client_of(proxy) as client,
    ):
        await client.send(handshake(who=who))
        await client.reader.readuntil(b"\r\n\r\n")
        [side] = backend.sides
        moment[0] += 59
        await client.send(MASKED)
        assert await side.reader.readexactly(len(MASKED)) == MASKED
        moment[0] += 1

        assert await until_closed(client) == CLOSED[1008]
        frame = await until_closed(side)
        mask = frame[2:6]
        assert frame[:2] == b"\x88\x82"
        assert (
            bytes(a ^ b for a, b in zip(frame[6:], mask, strict=False)) == b"\x03\xf0"
        )
        await side.close()
        await client.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("room", "expired"), 1.0)]


async def test_a_close_frame_waits_for_the_end_of_a_frame() -> None:
    """A frame that is on its way is not cut in two; what is behind it is dropped."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, side):
        await side.send(b"\x82\x7e\x01\x00" + b"a" * 100)
        await client.reader.readexactly(104)
        assert proxy.tunnels.close_where(lambda one: one.subject == "bob") == 0
        assert proxy.tunnels.close_where(lambda one: one.subject == "ada") == 1
        assert proxy.tunnels.close_where(lambda one: one.subject == "ada") == 0
        await side.send(b"a" * 100)
        assert await client.reader.readexactly(100) == b"a" * 100
        await side.send(b"a" * 56 + TEXT)

        assert await client.reader.readexactly(56) == b"a" * 56
        await told(client, 1008)
        await told_masked(side, 1008)
        await side.close()
        await client.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("room", "revoked"), 1.0)]


async def test_a_side_that_said_close_is_not_told_again() -> None:
    """A second Close frame would break the protocol (RFC 6455 section 5.5.1)."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, side):
        await side.send(CLOSED[1001])
        assert await client.reader.readexactly(4) == CLOSED[1001]
        proxy.tunnels.close_where(lambda _: True)
        await client.send(ANSWERED[1001])

        assert await until_closed(client) == b""
        assert (await until_closed(side)).startswith(b"\x88\x82")


async def test_a_rule_may_let_tunnels_outlive_their_token() -> None:
    """With close_on_expiry: false only silence ends it, after the rule's time."""
    moment = [1_000_000.0]
    backend = Backend()
    async with (
        whole_proxy(backend.play, wall=lambda: moment[0]) as proxy,
        client_of(proxy) as client,
    ):
        await client.send(handshake("/stays", token(exp=1_000_060)))
        await client.reader.readuntil(b"\r\n\r\n")
        moment[0] += 3600
        began = asyncio.get_running_loop().time()

        await told(client, 1001)
        assert asyncio.get_running_loop().time() - began > 0.9
        await backend.sides[0].close()
        await client.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("stays", "idle"), 1.0)]


async def test_a_drain_tells_those_there_are_and_those_that_come() -> None:
    """1001 says: come again, elsewhere."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, _):
        proxy.tunnels.drain()
        await told(client, 1001)
        async with client_of(proxy) as late:
            await late.send(handshake(who=token()))
            await late.reader.readuntil(b"\r\n\r\n")

            await told(late, 1001)


async def test_a_side_that_does_not_answer_is_not_waited_for_long() -> None:
    """Who was told of the end and stays is broken off."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, _):
        proxy.tunnels.close_where(lambda _: True)
        await client.reader.readexactly(4)

        with contextlib.suppress(ConnectionResetError):
            assert await until_closed(client) == b""
        await client.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("room", "revoked"), 1.0)]


async def test_a_client_that_reads_late_still_learns_why() -> None:
    """Its connection is there to answer on until it has."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, side):
        proxy.tunnels.close_where(lambda _: True)
        await told_masked(side, 1008)
        await side.close()
        await asyncio.sleep(0.2)

        await told(client, 1008)


async def test_another_protocol_is_not_told() -> None:
    """Where no Close frame can be written, the connection just ends."""
    backend = Backend(switching("shout"))
    asked = handshake("/stays", token(), Upgrade="shout")
    async with switched(backend, asked) as (proxy, client, side):
        proxy.tunnels.drain()
        await client.send(b"still there")
        assert await side.reader.readexactly(11) == b"still there"
        proxy.tunnels.close_where(lambda _: True)

        assert await until_closed(client) == b""
        assert await until_closed(side) == b""


async def test_half_a_tunnel_may_go_on() -> None:
    """The end of one direction is passed on; the other one is still served."""
    backend = Backend(switching("shout"))
    asked = handshake("/hall", Upgrade="shout")
    async with switched(backend, asked) as (proxy, client, side):
        await client.send(b"question")
        client.writer.write_eof()
        assert await until_closed(side) == b"question"
        await side.send(b"answer")
        side.writer.write_eof()

        assert await until_closed(client) == b"answer"
        await side.close()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("hall", "client"), 1.0)]


@pytest.mark.parametrize(
    ("path", "protocol"), [("/room", "websocket"), ("/hall", "shout")]
)
async def test_a_client_over_tls_is_told_of_the_end(
    path: str, protocol: str, tmp_path: Path
) -> None:
    """TLS has no halves: what was sent arrives, and then all of it is closed."""
    certificate, key = Authority(tmp_path).sign("127.0.0.1")
    backend = Backend(switching(protocol))
    async with whole_proxy(backend.play) as proxy:
        tls = context_for_server(certificate=certificate, key=key)
        proxy.listener.configure(tls, None, proxy_protocol=False)
        client = await tls_client(proxy.port)
        await client.send(handshake(path, token(), Upgrade=protocol))
        await client.reader.readuntil(b"\r\n\r\n")
        [side] = backend.sides
        await side.send(LONG)
        await side.close()

        assert await until_closed(client) == LONG
        await client.close()
        await proxy.settled()


@pytest.mark.parametrize(
    ("path", "protocol"), [("/room", "websocket"), ("/hall", "shout")]
)
async def test_a_backend_over_tls_is_told_of_the_end(
    path: str, protocol: str, tmp_path: Path
) -> None:
    """A client that leaves does not keep a connection to a backend open."""
    certificate, key = Authority(tmp_path).sign("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    scripted = Backend(switching(protocol))
    heard = asyncio.get_running_loop().create_future()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(switching(protocol))
        heard.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(play, "127.0.0.1", ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        policy = POLICY.replace("http://127.0.0.1:${PORT}", f"https://127.0.0.1:{port}")
        policy = policy.replace("timeouts:", "tls: {verify: none}\n    timeouts:", 1)
        async with whole_proxy(scripted.play, policy) as proxy:
            client = await Client.connect(proxy.port)
            await client.send(handshake(path, token(), Upgrade=protocol))
            await client.reader.readuntil(b"\r\n\r\n")
            await client.send(LONG)
            await client.close()

            async with asyncio.timeout(DEADLINE):
                assert await heard == LONG
            await proxy.settled()


@pytest.mark.parametrize("full", [False, True])
async def test_many_short_frames_let_others_have_their_turn(*, full: bool) -> None:
    """Stepping over many takes time; a side that does not take them still stops it."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, side):
        [tunnel] = proxy.tunnels._tunnels
        end = tunnel._client
        end.data_received(b"\x89\x00" * MANY_FRAMES)
        assert end.transport.is_reading()
        end.data_received(b"\x89\x00" * (MANY_FRAMES + 1))
        assert not end.transport.is_reading()
        if full:
            end.other.pause_writing()
        await asyncio.sleep(0.02)

        assert end.transport.is_reading() is not full
        end.other.resume_writing()
        await client.send(MASKED)
        sent = b"\x89\x00" * (2 * MANY_FRAMES + 1) + MASKED
        assert await side.reader.readexactly(len(sent)) == sent


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_a_reset_ends_both_sides(who: str) -> None:
    """Whoever breaks it, the other one is not left behind."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (proxy, client, side):
        broken, other = (client, side) if who == "client" else (side, client)
        broken.reset()

        with contextlib.suppress(ConnectionResetError):
            assert await until_closed(other) == b""
        other.reset()
        await proxy.settled()
        assert proxy.tunnels.closed_by_rule() == [(("room", who), 1.0)]


@pytest.mark.parametrize("who", ["client", "backend"])
async def test_a_side_that_does_not_read_stops_the_other(who: str) -> None:
    """Memory is bounded by the buffers of the sockets, whoever is slow."""
    backend = Backend()
    async with switched(backend, handshake(who=token())) as (_, client, side):
        slow, fast = (client, side) if who == "client" else (side, client)
        block, sent = b"\x82\x7f" + (1 << 40).to_bytes(8, "big") + b"x" * 65536, 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 28:
                fast.writer.write(block)
                async with asyncio.timeout(0.5):
                    await fast.writer.drain()
                sent += len(block)
        assert sent < 1 << 26
        received = 0
        while received < sent:
            received += len(await slow.reader.read(1 << 20))

        assert received >= sent


async def test_a_client_that_left_before_the_answer_leaves_nothing() -> None:
    """The backend's 101 comes too late: its connection is closed."""
    arrived, go = asyncio.Event(), asyncio.Event()
    ended: list[bytes] = []

    async def slowly(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await go.wait()
        await client.send(switching())
        ended.append(await client.reader.read())

    async with whole_proxy(slowly) as proxy:
        client = await Client.connect(proxy.port)
        await client.send(handshake(who=token()))
        await arrived.wait()
        client.writer.write_eof()  # a WebSocket has no use for half a connection
        await asyncio.sleep(0.05)
        go.set()
        await eventually(lambda: bool(ended) or proxy.open_to_backend("active") == 0)
        await client.close()
        await proxy.settled()

        assert proxy.tunnels.closed_by_rule() == []


async def test_what_is_held_is_bounded() -> None:
    """A client that sends on and on before it is answered is made to wait."""
    asked = asyncio.Event()

    async def silent(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await client.reader.read()

    async with whole_proxy(silent) as proxy, client_of(proxy) as client:
        await client.send(handshake(who=token()))
        await asked.wait()
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 1 << 28:
                client.writer.write(b"x" * 65536)
                async with asyncio.timeout(0.3):
                    await client.writer.drain()
                sent += 65536

        assert sent < 1 << 26


async def test_tunnels_without_a_token_are_nobodys() -> None:
    """Whoever revokes tokens is not asked about them."""
    async with switched(Backend(), handshake("/hall")) as (proxy, _, _):
        assert proxy.tunnels.close_where(lambda _: True) == 0
