"""Backends over TLS, and servers that come and go, behind a proxy of its own."""

import asyncio
import signal
from pathlib import Path

from tests.certificates import Authority
from tests.edge.test_upstreams import copy, http, named, secure, stopped
from tests.proxy_process import ProxyProcess, proxy_process
from tests.wire import Answer, Client, backend, eventually

RULES = "rules: [{id: home, match: '* /', allow: anyone, limits: [all]}]\n"
LIMITS = "limits: {all: {rate: unlimited, per: client}}\n"


def policy(servers: str, more: str = "") -> str:
    """Return the text of a policy with one backend."""
    backends = f"backends:\n  lms:\n    servers: [{servers}]\n{more}"
    return f"version: 1\n{backends}{LIMITS}{RULES}"


async def fetch(proxy: ProxyProcess) -> Answer:
    """Return the answer to one request on a connection of its own."""
    client = await Client.connect(proxy.data)
    try:
        return await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    finally:
        await client.close()


async def metrics(proxy: ProxyProcess) -> str:
    """Return what the metrics port shows, without keeping our own loop waiting."""
    _, shown = await asyncio.to_thread(proxy.ask, "/metrics")
    assert isinstance(shown, str)
    return shown


async def test_certificates_follow_their_files(tmp_path: Path) -> None:
    """Mutual TLS to the backend; a signal takes what the files say now."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new")
    ca = tmp_path / "ca.pem"
    copy(old.file, ca)
    mine, key = old.sign("proxy")
    more = f"    tls: {{ca: {ca}, certificate: {mine}, key: {key}}}\n"
    async with secure(named(b"sealed"), *old.sign("127.0.0.1"), old.file) as port:
        text = policy(f'"https://127.0.0.1:{port}"', more)
        with proxy_process(tmp_path, text) as proxy:
            assert (await fetch(proxy)).body == b"sealed"
            shown = await metrics(proxy)
            family = "lumina_upstream_certificate_expiry_timestamp_seconds"
            assert f'{family}{{backend="lms"}} 1' in shown
            copy(new.file, ca)
            proxy.tell(signal.SIGHUP)
            await eventually(lambda: "new certificates" in proxy.log)

            answer = await fetch(proxy)
            assert answer.status == 502
            assert b"upstream-untrusted" in answer.body


def test_start_without_the_files_is_refused(tmp_path: Path) -> None:
    """One line says which file it is, and nothing listens."""
    more = f"    tls: {{ca: {tmp_path / 'nowhere.pem'}}}\n"
    text = policy('"https://127.0.0.1:9"', more)
    proxy = ProxyProcess(tmp_path, text)

    assert proxy.wait() == 1
    assert "backends: " in proxy.log
    assert "nowhere.pem" in proxy.log
    assert "Traceback" not in proxy.log


async def test_reload_without_the_files_changes_nothing(tmp_path: Path) -> None:
    """The policy that was in force goes on serving."""
    async with backend(named(b"first")) as port:
        with proxy_process(tmp_path, policy(http(port))) as proxy:
            assert (await fetch(proxy)).body == b"first"
            more = f"    tls: {{ca: {tmp_path / 'nowhere.pem'}}}\n"
            proxy.policy.write_text(policy('"https://127.0.0.1:9"', more))
            proxy.tell(signal.SIGHUP)
            await eventually(lambda: "nowhere.pem" in proxy.log)

            assert (await fetch(proxy)).body == b"first"


async def test_stopped_server_costs_few_requests(tmp_path: Path) -> None:
    """One of two servers hangs: it is ejected, and the other serves everybody."""
    async with backend(named(b"good")) as good:
        with stopped() as bad:
            text = policy(
                http(good, bad),
                "    balance: round-robin\n    eject: {after: 2, for: 1h}\n"
                "    timeouts: {first_byte: 300ms}\n",
            )
            with proxy_process(tmp_path, text) as proxy:
                statuses = [(await fetch(proxy)).status for _ in range(20)]
                shown = await metrics(proxy)

    assert statuses.count(504) == 2
    assert statuses.count(200) == 18
    labels = f'{{backend="lms",server="127.0.0.1:{bad}"}}'
    assert f"lumina_upstream_ejected{labels} 1.0" in shown
    assert f"lumina_upstream_ejections_total{labels} 1.0" in shown
    assert f"lumina_upstream_failures_total{labels} 2.0" in shown


async def test_servers_are_replaced_without_a_failed_request(tmp_path: Path) -> None:
    """A reload for another server under load: each request is answered by one."""
    async with backend(named(b"one")) as one, backend(named(b"two")) as two:
        with proxy_process(tmp_path, policy(http(one))) as proxy:
            done = asyncio.Event()
            bodies: list[bytes] = []

            async def load() -> None:
                client = await Client.connect(proxy.data)
                while not done.is_set():
                    answer = await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert answer.status == 200
                    bodies.append(answer.body)
                await client.close()

            clients = [asyncio.ensure_future(load()) for _ in range(4)]
            for text in (policy(http(two)), policy(http(one)), policy(http(two))) * 3:
                so_far = len(bodies)
                proxy.policy.write_text(text)
                proxy.tell(signal.SIGHUP)
                await eventually(lambda so_far=so_far: len(bodies) > so_far + 40)  # type: ignore[misc]
            await eventually(lambda: bodies[-4:] == [b"two"] * 4)
            done.set()
            await asyncio.gather(*clients)
            shown = await metrics(proxy)

    assert {b"one", b"two"} == set(bodies)
    # What a reload removed is gone from the metrics, too.
    assert f'lumina_upstream_ejected{{backend="lms",server="127.0.0.1:{one}"}}' not in (
        shown
    )
