"""Several ports of one proxy: rules, TLS, trust, room and reloads of each."""

import asyncio
import contextlib
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.load import under_load
from tests.proxy_process import ProxyProcess, proxy_process
from tests.redis_server import RedisServer
from tests.wire import Answer, Client, backend, eventually

V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((192, 0, 2, 7)) + bytes(8)


@pytest.fixture(name="redis", scope="module")
def redis_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def policy(listeners: str, main: str = "") -> str:
    """Return a policy with listeners and a rule or two for each of its ports."""
    return f"""\
version: 1
listeners:
{listeners}
backends: {{lms: {{servers: ["${{BACKEND_URL}}"]}}}}
limits: {{login: {{rate: 5/minute, per: client}}}}
rules:
  - {{id: home, match: GET /, allow: anyone}}
  - {{id: login, match: POST /, allow: anyone, limits: [login]}}
{main}"""


EGRESS = """\
  - {id: embed, listener: egress, match: POST /v1/embeddings, allow: anyone}
  - {id: status, listener: egress, match: GET /, allow: anyone}
"""


def get(path: str = "/", *lines: str) -> bytes:
    """Return a request."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


async def tell(client: Client) -> None:
    """Answer each request with its own head."""
    while True:
        head = await client.reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head.lower():
            await client.reader.readuntil(b"0\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
        await client.send(answer % (len(head), head))


@contextlib.asynccontextmanager
async def running(
    folder: Path, text: str, **variables: str
) -> AsyncIterator[ProxyProcess]:
    """Run a proxy before a backend that tells what it was asked."""
    async with backend(tell) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(folder, text, BACKEND_URL=url, **variables) as proxy:
            yield proxy


def port_of(proxy: ProxyProcess, listener: str) -> int:
    """Return where a listener of the policy listens."""
    found = re.search(rf"listener {listener} on \S+:(\d+)$", proxy.log, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def ask(port: int, *parts: bytes) -> Answer:
    """Return the answer to a request on a connection of its own."""
    client = await Client.connect(port)
    try:
        return await client.request(b"".join(parts))
    finally:
        await client.close()


async def over_tls(port: int, authority: Authority, *, before: bytes = b"") -> Client:
    """Shake hands, after bytes in the clear."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(before)
    raw.setblocking(False)
    context = ssl.create_default_context(cafile=authority.file)
    streams = asyncio.open_connection(sock=raw, ssl=context, server_hostname="lms.test")
    return Client(*await streams)


def metric(proxy: ProxyProcess, sample: str) -> float | None:
    """Return a sample of a scrape."""
    _, shown = proxy.ask("/metrics")
    found = re.search(rf"^{re.escape(sample)} (\S+)$", shown, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_each_port_has_its_own_rules(
    tmp_path: Path, redis: RedisServer, workers: str
) -> None:
    """What one serves the other refuses; metrics and limits are of both."""
    text = policy('  egress: {listen: "127.0.0.1:0"}', EGRESS)
    async with running(tmp_path, text, WORKERS=workers, REDIS_URL=redis.url) as proxy:
        egress = port_of(proxy, "egress")
        embed = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        statuses = [
            (await ask(port, request)).status
            for port in (proxy.data, egress)
            for request in (get(), embed)
        ]

        assert statuses == [200, 404, 200, 200]
        served = 'lumina_decisions_total{{reason="served",role="",rule="{}"}}'
        for rule in ("home", "status", "embed"):
            assert metric(proxy, served.format(rule)) == 1.0
        assert proxy.ask("/ready")[1]["checks"]["listening"] == "yes"
        assert proxy.ask("/limits/192.0.2.1?rule=/v1/embeddings")[0] == 200


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_tls_with_a_load_balancer_before_it(
    tmp_path: Path, redis: RedisServer, workers: str
) -> None:
    """The backend is told the client's address and that it came over TLS."""
    authority = Authority(tmp_path)
    certificate, key = authority.sign("lms.test")
    text = policy(
        f"  default: {{tls: {{certificate: {certificate}, key: {key}}},\n"
        "    proxy_protocol: true}"
    )
    async with running(
        tmp_path,
        text,
        TRUSTED_PROXIES="127.0.0.0/8",
        WORKERS=workers,
        REDIS_URL=redis.url,
    ) as proxy:
        client = await over_tls(proxy.data, authority, before=V2)
        lying = get("/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http")
        answer = await client.request(lying)
        await client.close()
        told = answer.body.decode().split("\r\n")
        bare = await Client.connect(proxy.data)
        await bare.send(get())

        assert "X-Forwarded-For: 192.0.2.7" in told
        assert "X-Forwarded-Proto: https" in told
        assert await bare.rest() == b""
        await bare.close()
        name = "lumina_listener_connections_refused_total"
        assert metric(proxy, f'{name}{{listener="default"}}') == 1.0
        name = "lumina_listener_certificate_reload_success"
        assert metric(proxy, f'{name}{{listener="default"}}') == 1.0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_certificate_is_followed(
    tmp_path: Path, redis: RedisServer, workers: str
) -> None:
    """A new one counts after SIGHUP; one that is none is refused, and changes none."""
    authority = Authority(tmp_path)
    certificate, key = authority.sign("lms.test")
    text = policy(f"  default: {{tls: {{certificate: {certificate}, key: {key}}}}}")
    async with running(tmp_path, text, WORKERS=workers, REDIS_URL=redis.url) as proxy:

        async def serial() -> str:
            client = await over_tls(proxy.data, authority)
            found = client.writer.get_extra_info("ssl_object").getpeercert()
            assert (await client.request(get())).status == 200
            await client.close()
            return str(found["serialNumber"])

        first = await serial()
        loaded = proxy.ask("/policy")[1]["loaded_at"]
        authority.sign("lms.test")
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.ask("/policy")[1]["loaded_at"] > loaded)
        second = await serial()
        await asyncio.to_thread(Path(key).write_text, "no key")
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.ask("/policy")[1]["last_error"])
        refused = proxy.ask("/policy")[1]["last_error"]

        assert first != second
        assert refused.startswith(f"listeners: {certificate}")
        assert await serial() == second


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_reload_changes_all_but_the_places(
    tmp_path: Path, redis: RedisServer, workers: str
) -> None:
    """Rules of a port do; a port more, or elsewhere, is refused and says why."""
    text = policy('  egress: {listen: "127.0.0.1:0"}', EGRESS)
    async with running(tmp_path, text, WORKERS=workers, REDIS_URL=redis.url) as proxy:
        egress = port_of(proxy, "egress")
        assert (await ask(egress, get("/new"))).status == 404
        proxy.policy.write_text(
            text + "  - {id: new, listener: egress, match: GET /new, allow: anyone}\n"
        )
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.ask("/policy")[1]["rules"] == 5)
        assert (await ask(egress, get("/new"))).status == 200
        proxy.policy.write_text(text.replace("127.0.0.1:0", "127.0.0.1:1"))
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.ask("/policy")[1]["last_error"])

        assert proxy.ask("/policy")[1]["last_error"] == (
            "listeners: the listener egress listens elsewhere; that takes a restart."
        )
        assert (await ask(egress, get("/new"))).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_unix_socket_is_one_more_place(
    tmp_path: Path, redis: RedisServer, workers: str
) -> None:
    """All workers accept there; its peers are believed where it is said; it goes."""
    path = tmp_path / "lumina.sock"
    text = policy(f'  egress: {{listen: "unix:{path}"}}', EGRESS)
    async with running(
        tmp_path,
        text,
        WORKERS=workers,
        REDIS_URL=redis.url,
        TRUSTED_PROXIES="unix:",
    ) as proxy:
        told = []
        for _ in range(4):
            client = Client(*await asyncio.open_unix_connection(path))
            answer = await client.request(get("/", "X-Forwarded-For: 203.0.113.9"))
            told.append(answer.body.decode().split("\r\n"))
            await client.close()
        proxy.tell(signal.SIGTERM)
        status = await asyncio.to_thread(proxy.wait)

        assert all("X-Forwarded-For: 203.0.113.9, " in lines for lines in told)
        assert status == 0
        assert not path.exists()


async def test_default_listener_may_be_a_unix_socket(tmp_path: Path) -> None:
    """LISTEN says so; nothing listens at a port then."""
    path = tmp_path / "lumina.sock"
    async with backend(tell) as port:
        proxy = ProxyProcess(
            tmp_path,
            policy("  default: {proxy_protocol: false}"),
            BACKEND_URL=f"http://127.0.0.1:{port}",
            LISTEN=f"unix:{path}",
        )
        try:
            await eventually(lambda: f"listening on unix:{path}, metrics" in proxy.log)
            client = Client(*await asyncio.open_unix_connection(path))
            assert (await client.request(get())).status == 200
            await client.close()
        finally:
            proxy.stop()


async def test_connections_of_each_port_are_bounded(tmp_path: Path) -> None:
    """One that is full takes nothing from the others; an idle one makes room."""
    text = policy('  egress: {listen: "127.0.0.1:0", max_connections: 2}', EGRESS)
    async with running(tmp_path, text) as proxy:
        egress = port_of(proxy, "egress")
        held = [await Client.connect(egress) for _ in range(2)]
        for client in held:
            await client.send(get()[:-2])  # a head that is not complete is not idle
        await eventually(lambda: metric(proxy, "lumina_downstream_connections") == 2.0)
        late = await Client.connect(egress)
        await late.send(get())
        assert (await ask(proxy.data, get())).status == 200
        await held[0].send(b"\r\n")
        assert (await held[0].answer()).status == 200
        assert await held[0].rest() == b""  # idle, and so it made room

        assert (await late.answer()).status == 200
        for client in (*held, late):
            await client.close()


async def test_idle_connections_wait_at_no_cost_to_others(tmp_path: Path) -> None:
    """A thousand of them: requests are served as ever, and all of them still stand."""
    async with running(tmp_path, policy("  default: {proxy_protocol: false}")) as proxy:
        idle = [await Client.connect(proxy.data) for _ in range(1000)]
        for client in idle:
            await client.send(get())
        for client in idle:
            assert (await client.answer()).status == 200
        async with under_load(proxy.data) as load:
            await load.more(100)
        assert metric(proxy, "lumina_downstream_connections") == 1000.0
        for client in idle[::100]:
            assert (await client.request(get())).status == 200
        for client in idle:
            await client.close()

        assert load.failed == []
        assert load.refused == 0


async def test_descriptors_that_run_out_are_waited_for(tmp_path: Path) -> None:
    """A part is kept for backends; whoever finds none left waits, and is served."""
    async with backend(tell) as port:
        text = policy("  default: {proxy_protocol: false}").replace(
            "${BACKEND_URL}", f"http://127.0.0.1:{port}"
        )
        with limited_proxy(tmp_path, text, 164) as proxy:
            assert "connections at a time, not 20000" in proxy.log
            held = [await Client.connect(proxy.data) for _ in range(100)]
            for client in held:
                await client.send(get())
            answers = [await client.answer() for client in held]
            for client in held:
                await client.close()

            assert {answer.status for answer in answers} == {200}
            assert (await ask(proxy.data, get())).status == 200


@contextlib.contextmanager
def limited_proxy(folder: Path, text: str, descriptors: int) -> Iterator[ProxyProcess]:
    """Run a proxy that may have so many file descriptors."""
    program = ("-m", "tests.few_descriptors", str(descriptors))
    with proxy_process(folder, text, program) as proxy:
        yield proxy
