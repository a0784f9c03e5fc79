"""The life of the process: start, reload, drain, stop, and what it says of itself."""

import asyncio
import base64
import contextlib
import gc
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.settings import Settings
from tests.proxy_process import POLICY, ProxyProcess, key, proxy_process
from tests.redis_server import RedisServer
from tests.wire import Answer, Client, backend, eventually

TOKEN = "the-token-of-the-metrics-port"
MORE = POLICY + "  - {id: about, match: GET /about, allow: anyone}\n"
BAD = MORE + "roels: []\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
LIMITED = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
limits: {login: {rate: 5/hour, per: client}}
rules:
  - {id: login, match: POST /login, allow: anyone, limits: [login]}
"""


def get(path: str = "/") -> bytes:
    """Return a request."""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def connected(proxy: ProxyProcess) -> AsyncIterator[Client]:
    """Yield a connection to the data port."""
    client = await Client.connect(proxy.data)
    try:
        yield client
    finally:
        await client.close()


async def fetch(proxy: ProxyProcess, request: bytes) -> Answer:
    """Return the answer to one request on a connection of its own."""
    async with connected(proxy) as client:
        return await client.request(request)


async def hello(client: Client) -> None:
    """Answer every request at once."""
    while True:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def metric(proxy: ProxyProcess, sample: str) -> float | None:
    """Return the value of a sample, as it is spelled; None when it is not shown."""
    _, shown = proxy.ask("/metrics")
    found = re.search(rf"^{re.escape(sample)} (\S+)$", shown, re.MULTILINE)
    return float(found[1]) if found else None


async def until_policy(
    proxy: ProxyProcess, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Wait until what /policy says holds; return it."""
    await eventually(lambda: holds(proxy.ask("/policy")[1]))
    document: dict[str, Any] = proxy.ask("/policy")[1]
    return document


# -- start


def test_start_says_where_and_what(tmp_path: Path) -> None:
    """One line with both addresses and the policy; no secret in any line."""
    secret = key()
    with proxy_process(tmp_path, ENCRYPTION_KEY=secret, METRICS_TOKEN=TOKEN) as proxy:
        digest = proxy.ask("/policy", TOKEN)[1]["digest"]
        [line] = [one for one in proxy.log.splitlines() if "listening" in one]

        assert line.endswith(
            f"INFO lumina: listening on 127.0.0.1:{proxy.data}, "
            f"metrics on 127.0.0.1:{proxy.metrics}, policy {digest}"
        )
        assert "no REDIS_URL: rate limits are kept in this process only" in proxy.log
        assert secret not in proxy.log
        assert TOKEN not in proxy.log


def test_warnings_of_the_policy_are_logged(tmp_path: Path) -> None:
    """At the start, and when a reload has brought a new one."""
    warned = POLICY + "  - {id: open, match: POST /open, allow: anyone}\n"
    with proxy_process(tmp_path, warned) as proxy:
        assert proxy.log.count("warning: rules[2].allow: anyone may write here") == 1
        proxy.policy.write_text(
            warned + "  - {id: wide, match: PUT /wide, allow: anyone}\n"
        )
        before = proxy.ask("/policy")[1]["digest"]
        proxy.tell(signal.SIGHUP)
        while proxy.ask("/policy")[1]["digest"] == before:
            pass

        assert proxy.log.count("warning: rules[3].allow: anyone may write here") == 1


def test_ready_tells_every_check(tmp_path: Path) -> None:
    """What a person needs who wonders why it is not."""
    with proxy_process(tmp_path) as proxy:
        assert proxy.ask("/ready") == (
            200,
            {
                "status": "ready",
                "checks": {
                    "policy": "ok",
                    "keys": "ok",
                    "issuers": "ok",
                    "audit": "ok",
                    "limits": "ok",
                    "backends": "ok",
                    "listening": "yes",
                    "draining": "no",
                },
            },
        )
        assert proxy.ask("/health") == (200, {"status": "ok"})


def test_metrics_token_is_asked_for(tmp_path: Path) -> None:
    """Of everybody but probes; it may come from a file."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with proxy_process(tmp_path, METRICS_TOKEN_FILE=str(file)) as proxy:
        for path in ("/metrics", "/policy", "/limits/ada?rule=login"):
            assert proxy.ask(path)[0] == 401
            assert proxy.ask(path, "wrong")[0] == 401
            assert proxy.ask(path, TOKEN)[0] == 200
        assert proxy.ask("/health")[0] == 200
        assert proxy.ask("/ready")[0] == 200


async def test_trusted_peer_says_who_the_client_is(tmp_path: Path) -> None:
    """Limits per client are that client's; an untrusted peer counts itself."""
    request = LOGIN.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n")
    for trusted, who in (("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")):
        with proxy_process(tmp_path, TRUSTED_PROXIES=trusted) as proxy:
            await fetch(proxy, request)
            left = {
                one: proxy.ask(f"/limits/{one}?rule=login")[1]["remaining"]
                for one in ("203.0.113.7", "127.0.0.1")
            }

        assert left == {"203.0.113.7": 5, "127.0.0.1": 5} | {who: 4}


def test_backend_that_is_down_is_told(tmp_path: Path) -> None:
    """By its name, on /ready and in a metric; the proxy itself is ready still."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        policy = POLICY.replace('9}"]', '9}"], health: {path: /health, every: 50ms}')
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, policy, BACKEND_URL=url) as proxy:
            while (answer := proxy.ask("/ready"))[1]["checks"]["backends"] == "ok":
                pass

            assert answer[0] == 200
            assert answer[1]["checks"]["backends"] == "down: lms"
            sample = f'lumina_upstream_up{{backend="lms",server="127.0.0.1:{port}"}}'
            assert metric(proxy, sample) == 0.0


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[App]:
    """An app that is put together and does not listen yet."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = {
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "POLICY": str(tmp_path),
        "ENCRYPTION_KEY": "A" * 43,
        "DRAIN_GRACE": "0",
    }
    thresholds = gc.get_threshold()
    app = App(Settings.read(environment), environment)
    app._build()
    yield app
    await app._stop()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def test_ready_means_that_the_data_port_accepts(built: App) -> None:
    """Neither before it listens nor once it drains is the process ready."""
    before = (await built._ready())[0]
    await built._start()
    serving = (await built._ready())[0]
    built._serving.stop_accepting()
    after = (await built._ready())[0]

    assert (before, serving, after) == (False, True, False)


# -- reload


async def test_good_edit_comes_into_force(tmp_path: Path) -> None:
    """SIGHUP, and requests, /policy, metrics and the log know the new policy."""
    async with backend(hello) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, BACKEND_URL=url) as proxy:
            before = proxy.ask("/policy")[1]
            assert (await fetch(proxy, get("/about"))).status == 404
            async with connected(proxy) as client:
                assert (await client.request(get())).body == b"hello"
                proxy.policy.write_text(MORE)
                proxy.tell(signal.SIGHUP)
                after = await until_policy(
                    proxy, lambda shown: shown["digest"] != before["digest"]
                )

                assert (before["rules"], after["rules"]) == (2, 3)
                assert after["last_error"] is None
                assert after["loaded_at"] > before["loaded_at"]
                assert (await fetch(proxy, get("/about"))).body == b"hello"
                # The connection from before is not cut, and sees the new policy.
                assert (await client.request(get("/about"))).body == b"hello"
                digest = f'lumina_policy_info{{digest="{after["digest"]}"}}'
                assert metric(proxy, digest) == 1.0
                assert metric(proxy, "lumina_policy_last_reload_success") == 1.0
                assert f"policy {after['digest']} is in force" in proxy.log


async def test_bad_edit_leaves_the_last_good_one(tmp_path: Path) -> None:
    """The rules in force stay; /policy, /ready, a metric and the log say why."""
    async with backend(hello) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, BACKEND_URL=url) as proxy:
            before = proxy.ask("/policy")[1]
            proxy.policy.write_text(BAD)
            proxy.tell(signal.SIGHUP)
            after = await until_policy(proxy, lambda shown: shown["last_error"])
            finding = f"{proxy.policy}:10:1: error: roels: unknown key 'roels'"

            assert after.pop("last_error").startswith(finding)
            assert after == {name: before[name] for name in after}
            assert (await fetch(proxy, get())).body == b"hello"
            assert (await fetch(proxy, get("/about"))).status == 404
            digest = f'lumina_policy_info{{digest="{before["digest"]}"}}'
            assert metric(proxy, digest) == 1.0
            assert metric(proxy, "lumina_policy_last_reload_success") == 0.0
            status, ready = proxy.ask("/ready")
            assert (status, ready["checks"]["policy"]) == (200, "last reload refused")
            assert "the policy was refused, the last good one stays:" in proxy.log
            assert finding in proxy.log
            assert "Traceback" not in proxy.log

            proxy.policy.write_text(MORE)
            proxy.tell(signal.SIGHUP)
            await until_policy(proxy, lambda shown: shown["last_error"] is None)
            assert (await fetch(proxy, get("/about"))).body == b"hello"
            assert metric(proxy, "lumina_policy_last_reload_success") == 1.0
            assert proxy.ask("/ready")[1]["checks"]["policy"] == "ok"


async def test_policy_that_asks_for_another_key_is_a_bad_edit(tmp_path: Path) -> None:
    """It is sound, but not here; what was in force is, and since when it was."""
    other = POLICY + "fields: {user.name: {mode: deterministic, key: 00000000}}\n"
    other = other.replace(
        "POST /login,", "POST /login, protect: {request: {$.n: user.name}},"
    )
    with proxy_process(tmp_path) as proxy:
        before = proxy.ask("/policy")[1]
        proxy.policy.write_text(other)
        proxy.tell(signal.SIGHUP)
        after = await until_policy(proxy, lambda shown: shown["last_error"])

        assert "ENCRYPTION_KEY" in after.pop("last_error")
        assert after == {name: before[name] for name in after}
        assert metric(proxy, "lumina_policy_last_reload_success") == 0.0


async def test_policy_that_is_gone_is_a_bad_edit(tmp_path: Path) -> None:
    """A file that somebody moved away changes nothing either."""
    with proxy_process(tmp_path) as proxy:
        digest = proxy.ask("/policy")[1]["digest"]
        proxy.policy.unlink()
        proxy.tell(signal.SIGHUP)
        after = await until_policy(proxy, lambda shown: shown["last_error"])

        assert "No such file or directory" in after["last_error"]
        assert after["digest"] == digest
        proxy.tell(signal.SIGTERM)
        assert proxy.wait() == 0


async def test_reload_reads_secrets_anew(tmp_path: Path) -> None:
    """A file that a variable names may have been replaced; a lost one is refused."""
    place = tmp_path / "place"
    place.write_text("http://127.0.0.1:9")
    async with backend(hello) as port:
        with proxy_process(
            tmp_path, BACKEND_URL="", BACKEND_URL_FILE=str(place)
        ) as proxy:
            assert (await fetch(proxy, get())).status == 502
            loaded = proxy.ask("/policy")[1]["loaded_at"]
            place.write_text(f"http://127.0.0.1:{port}")
            proxy.tell(signal.SIGHUP)
            await until_policy(proxy, lambda shown: shown["loaded_at"] > loaded)
            assert (await fetch(proxy, get())).body == b"hello"
            place.unlink()
            proxy.tell(signal.SIGHUP)
            after = await until_policy(proxy, lambda shown: shown["last_error"])

            assert (
                "BACKEND_URL_FILE names is empty or cannot be read"
                in (after["last_error"])
            )
            assert (await fetch(proxy, get())).body == b"hello"


async def test_reload_reads_the_keys_anew(tmp_path: Path) -> None:
    """A key is put before the old one without a restart; nonsense changes nothing."""
    file = tmp_path / "key"
    old, new = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    file.write_text(old)
    with proxy_process(
        tmp_path, ENCRYPTION_KEY="", ENCRYPTION_KEY_FILE=str(file)
    ) as proxy:
        loaded = proxy.ask("/policy")[1]["loaded_at"]
        file.write_text("no key")
        proxy.tell(signal.SIGHUP)
        refused = await until_policy(proxy, lambda shown: shown["last_error"])
        file.write_text(f"{new},{old}")
        proxy.tell(signal.SIGHUP)
        after = await until_policy(proxy, lambda shown: shown["loaded_at"] > loaded)

        assert refused["last_error"].startswith("ENCRYPTION_KEY: ")
        assert refused["loaded_at"] == loaded
        assert after["last_error"] is None


async def test_counter_of_a_new_policy_is_shown_from_zero(tmp_path: Path) -> None:
    """And counts what the rule serves."""
    counted = MORE.replace("/about,", "/about, count: lumina_looks_total,")
    async with backend(hello) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, BACKEND_URL=url) as proxy:
            assert metric(proxy, "lumina_looks_total") is None
            proxy.policy.write_text(counted)
            proxy.tell(signal.SIGHUP)
            await until_policy(proxy, lambda shown: shown["rules"] == 3)
            assert metric(proxy, "lumina_looks_total") == 0.0
            await fetch(proxy, get("/about"))

            assert metric(proxy, "lumina_looks_total") == 1.0


# -- drain and stop


class Slow:
    """A backend that sends half of each answer to /slow, and the rest when told."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = asyncio.Event()
        self.url = ""

    async def play(self, client: Client) -> None:
        """Answer until the client leaves."""
        while True:
            request = await client.reader.readuntil(b"\r\n\r\n")
            await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            if request.startswith(b"GET /slow"):
                self.asked += 1
                await self.go_on.wait()
            await client.send(b" half")


@contextlib.asynccontextmanager
async def slowly() -> AsyncIterator[Slow]:
    """Run such a backend."""
    slow = Slow()
    async with backend(slow.play) as port:
        slow.url = f"http://127.0.0.1:{port}"
        try:
            yield slow
        finally:
            slow.go_on.set()


@contextlib.asynccontextmanager
async def with_open_exchange(
    folder: Path, **variables: str
) -> AsyncIterator[tuple[ProxyProcess, Client, Slow]]:
    """Run a proxy with an exchange that is half done."""
    policy = POLICY + "  - {id: slow, match: GET /slow, allow: anyone}\n"
    async with slowly() as slow:
        with proxy_process(folder, policy, BACKEND_URL=slow.url, **variables) as proxy:
            async with connected(proxy) as client:
                await client.send(get("/slow"))
                await eventually(lambda: slow.asked == 1)
                yield proxy, client, slow


async def until_draining(proxy: ProxyProcess) -> None:
    """Send SIGTERM and wait until /ready says so."""
    proxy.tell(signal.SIGTERM)
    await eventually(lambda: proxy.ask("/ready")[0] == 503)


async def test_drain_says_no_serves_on_and_lets_finish(tmp_path: Path) -> None:
    """Not ready at once; for the grace new connections work; open ones end whole."""
    async with (
        with_open_exchange(tmp_path, DRAIN_GRACE="1") as (proxy, busy, slow),
        connected(proxy) as idle,
    ):
        assert "connection" not in await idle.request(get())
        await until_draining(proxy)
        _, ready = proxy.ask("/ready")
        assert (ready["status"], ready["checks"]["draining"]) == ("not ready", "yes")
        assert proxy.ask("/health")[0] == 200
        late = await fetch(proxy, get())
        assert (late.status, late.body) == (200, b"first half")
        assert late["Connection"] == "close"
        assert await idle.rest() == b""  # closed once the grace was over
        await eventually(lambda: refuses(proxy.data))
        assert proxy.process.poll() is None
        slow.go_on.set()
        assert (await busy.answer()).body == b"first half"
        assert await busy.rest() == b""
        await asyncio.to_thread(proxy.wait)

        assert proxy.process.returncode == 0
        assert "Traceback" not in proxy.log
        lines = [line.rpartition(": ")[2] for line in proxy.log.splitlines()]
        assert lines[-2:] == ["draining", "stopped"]


def refuses(port: int) -> bool:
    """Say whether nobody listens on a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_hurries(tmp_path: Path, number: signal.Signals) -> None:
    """Grace and open exchanges are cut short; the exit is a clean one still."""
    async with with_open_exchange(tmp_path, DRAIN_GRACE="60") as (proxy, busy, _):
        await until_draining(proxy)
        proxy.tell(number)
        await asyncio.to_thread(proxy.wait)

        assert proxy.process.returncode == 0
        assert (await busy.rest()).endswith(b"first")
        assert "Traceback" not in proxy.log


async def test_exchange_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """After DRAIN_TIMEOUT, with exit status 0."""
    async with with_open_exchange(tmp_path, DRAIN_TIMEOUT="0.1") as (proxy, busy, _):
        proxy.tell(signal.SIGTERM)
        await asyncio.to_thread(proxy.wait)

        assert proxy.process.returncode == 0
        assert (await busy.rest()).endswith(b"first")


async def test_reload_while_draining_is_no_way_back(tmp_path: Path) -> None:
    """The process leaves all the same."""
    with proxy_process(tmp_path, DRAIN_GRACE="60") as proxy:
        await until_draining(proxy)
        proxy.policy.write_text(MORE)
        proxy.tell(signal.SIGHUP)
        await until_policy(proxy, lambda shown: shown["rules"] == 3)

        assert proxy.ask("/ready")[0] == 503
        proxy.tell(signal.SIGTERM)
        assert await asyncio.to_thread(proxy.wait) == 0


# -- Redis


async def test_a_limit_that_denies_is_not_ready_without_redis(tmp_path: Path) -> None:
    """Its requests get 503 and another instance may serve them; then all is well."""
    server = RedisServer(tmp_path)
    policy = LIMITED.replace("per: client", "per: client, on_store_failure: deny")
    with proxy_process(tmp_path, policy, REDIS_URL=server.url) as proxy:
        assert proxy.ask("/ready")[0] == 503
        answer = await fetch(proxy, LOGIN)
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert b"limits-unavailable" in answer.body
        assert metric(proxy, 'lumina_limiter_local_takes_total{answer="deny"}') == 1.0
        try:
            server.start()
            await eventually(lambda: proxy.ask("/ready")[0] == 200)

            assert (await fetch(proxy, LOGIN)).status == 502
        finally:
            server.kill()


async def test_redis_may_come_later(tmp_path: Path) -> None:
    """Until then this process counts for itself, and says so; then Redis counts."""
    server = RedisServer(tmp_path)
    with proxy_process(tmp_path, LIMITED, REDIS_URL=server.url) as proxy:
        status, ready = proxy.ask("/ready")
        assert (status, ready["checks"]["limits"]) == (200, "degraded")
        assert metric(proxy, "lumina_limiter_store_up") == 0.0
        statuses = [(await fetch(proxy, LOGIN)).status for _ in range(6)]
        assert statuses == [502] * 5 + [429]
        assert proxy.ask("/limits/127.0.0.1?rule=login")[1]["remaining"] == 0
        try:
            server.start()
            await eventually(lambda: proxy.ask("/ready")[1]["checks"]["limits"] == "ok")
            assert metric(proxy, "lumina_limiter_store_up") == 1.0
            # It is told what was taken without it, and what it holds now counts.
            await eventually(lambda: len(server.command("KEYS", "lb:{*")) == 1)
            [bucket] = server.command("KEYS", "lb:{*")
            assert "127.0.0.1" in bucket
            assert (await fetch(proxy, LOGIN)).status == 429

            assert proxy.ask("/limits/127.0.0.1?rule=login")[1]["remaining"] == 0
            assert metric(proxy, 'lumina_limiter_takes_total{outcome="refused"}') == 2
        finally:
            server.kill()
        await eventually(
            lambda: proxy.ask("/ready")[1]["checks"]["limits"] == "degraded"
        )
        assert (await fetch(proxy, LOGIN)).status in {429, 502}
        proxy.tell(signal.SIGTERM)

        assert await asyncio.to_thread(proxy.wait) == 0
        assert "Traceback" not in proxy.log
