"""Several processes as one proxy: what is exact over them, and what one death costs."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load import under_load
from tests.proxy_process import POLICY, PROGRAM, ProxyProcess, proxy_process
from tests.redis_server import RedisServer
from tests.wire import Client, backend, eventually

MORE = POLICY + "  - {id: about, match: GET /about, allow: anyone}\n"
BAD = MORE + "roels: []\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
OPEN = b"GET /about HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(name="redis", scope="module")
def redis_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def hello(client: Client) -> None:
    """Answer every request at once."""
    while True:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    redis: RedisServer,
    policy: str = POLICY,
    program: tuple[str, ...] = PROGRAM,
    /,
    **variables: str,
) -> AsyncIterator[ProxyProcess]:
    """Run a proxy of two workers before a backend that answers."""
    redis.command("FLUSHALL")
    async with backend(hello) as port:
        with proxy_process(
            folder,
            policy,
            program,
            BACKEND_URL=f"http://127.0.0.1:{port}",
            REDIS_URL=redis.url,
            **{"WORKERS": "2", **variables},
        ) as proxy:
            yield proxy


def workers_of(proxy: ProxyProcess) -> list[int]:
    """Return the pids of the processes that a proxy has started."""
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def shown(proxy: ProxyProcess) -> dict[str, float]:
    """Return every sample of a scrape."""
    _, text = proxy.ask("/metrics")
    rows = re.findall(r"^([^#\s]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in rows}


def served(samples: dict[str, float], rule: str = "home") -> float:
    """Return how many requests of a rule were served."""
    return samples.get(
        f'lumina_decisions_total{{reason="served",role="",rule="{rule}"}}', 0.0
    )


async def ask(port: int, request: bytes) -> int:
    """Return the status of one request on a connection of its own."""
    client = await Client.connect(port)
    try:
        return (await client.request(request)).status
    finally:
        await client.close()


async def until(proxy: ProxyProcess, path: str, **expected: Any) -> dict[str, Any]:
    """Wait until what the metrics port says at a path has these members."""

    def holds() -> bool:
        document: dict[str, Any] = proxy.ask(path)[1]
        return expected.items() <= document.items()

    await eventually(holds)
    found: dict[str, Any] = proxy.ask(path)[1]
    return found


async def test_both_serve_and_sums_are_exact(
    tmp_path: Path, redis: RedisServer
) -> None:
    """One metrics port shows what all did, to the last request."""
    async with running(tmp_path, redis) as proxy:
        assert len(workers_of(proxy)) == 2
        async with under_load(proxy.data, clients=16) as load:
            await load.more(200)
            await asyncio.to_thread(proxy.ask, "/metrics")
            await load.more(200)
        samples = shown(proxy)

        assert load.failed == []
        assert load.statuses == {200: served(samples)}
        name = "lumina_request_duration_seconds_count"
        assert samples[f'{name}{{method="GET",rule="home",status="2xx"}}'] == (
            load.answered
        )
        assert samples["lumina_workers"] == 2.0
        assert samples["lumina_limiter_store_up"] == 1.0
        assert sum(name.startswith("lumina_policy_info") for name in samples) == 1
        assert samples["process_resident_memory_bytes"] > 60e6


async def test_limits_are_exact_over_workers(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Whichever of them a connection comes to: five log-ins pass, not ten."""
    async with running(tmp_path, redis) as proxy:
        statuses = await asyncio.gather(*(ask(proxy.data, LOGIN) for _ in range(24)))

        assert sorted(statuses) == [200] * 5 + [429] * 19
        left = proxy.ask("/limits/127.0.0.1?rule=login")[1]
        assert (left["rule"], left["remaining"]) == ("login", 0)
        status, problem = proxy.ask("/limits/127.0.0.1?rule=nowhere")
        assert (status, problem["title"]) == (404, "The policy has no such rule")


async def test_ready_is_told_of_all(tmp_path: Path, redis: RedisServer) -> None:
    """With how many of the workers serve."""
    async with running(tmp_path, redis) as proxy:
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
                    "workers": "2 of 2",
                },
            },
        )


async def test_killed_worker_breaks_its_own_connections_only(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Under load: those, once each; another takes its place, and no counter falls."""
    async with running(tmp_path, redis) as proxy:
        before = workers_of(proxy)
        async with under_load(proxy.data, clients=16) as load:
            await load.more(100)
            seen = await asyncio.to_thread(shown, proxy)
            os.kill(before[0], signal.SIGKILL)
            await load.more(200)
            await eventually(
                lambda: len(workers_of(proxy)) == 2 and workers_of(proxy) != before
            )
            # Whoever waited in the dead worker's queue is served by its successor.
            await load.more(200)
            after = await asyncio.to_thread(shown, proxy)

        assert len(load.failed) <= 16
        assert load.refused == 0
        assert load.statuses.keys() == {200}
        assert before[0] not in workers_of(proxy)
        assert before[1] in workers_of(proxy)
        assert {
            name: (value, after.get(name))
            for name, value in seen.items()
            if name.split("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))
            and after.get(name, -1.0) < value
        } == {}
        assert after["lumina_worker_restarts_total"] == 1.0
        assert f"worker {before[0]} was ended by signal 9" in proxy.log


async def test_reloads_under_load_fail_no_request(
    tmp_path: Path, redis: RedisServer
) -> None:
    """A good edit, a bad one and a good one again, as fast as they come into force."""
    async with running(tmp_path, redis) as proxy:
        async with under_load(proxy.data) as load:
            for number in range(6):
                text = BAD if number % 3 == 1 else MORE + f"# edit {number}\n"
                loaded = proxy.ask("/policy")[1]["loaded_at"]
                proxy.policy.write_text(text)
                proxy.tell(signal.SIGHUP)
                if text == BAD:
                    await eventually(lambda: proxy.ask("/policy")[1]["last_error"])
                else:
                    await eventually(
                        lambda loaded=loaded: (  # type: ignore[misc]
                            proxy.ask("/policy")[1]["loaded_at"] > loaded
                        )
                    )
                await load.more(20)

        assert load.failed == []
        assert load.refused == 0
        assert load.statuses == {200: load.answered}
        assert "Traceback" not in proxy.log


async def test_reload_is_in_force_on_every_worker(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Once /policy says so, whichever of them is asked; a bad one is on none."""
    async with running(tmp_path, redis) as proxy:
        before = proxy.ask("/policy")[1]
        assert {await ask(proxy.data, OPEN) for _ in range(8)} == {404}
        proxy.policy.write_text(MORE)
        proxy.tell(signal.SIGHUP)
        good = await until(proxy, "/policy", rules=3)
        assert {await ask(proxy.data, OPEN) for _ in range(16)} == {200}
        proxy.policy.write_text(BAD)
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.ask("/policy")[1]["last_error"])
        bad = proxy.ask("/policy")[1]
        statuses = {await ask(proxy.data, OPEN) for _ in range(16)}

        assert before["digest"] != good["digest"] == bad["digest"]
        assert "unknown key 'roels'" in bad["last_error"]
        assert statuses == {200}
        assert proxy.ask("/ready")[1]["checks"]["policy"] == "last reload refused"
        samples = shown(proxy)
        assert samples["lumina_policy_last_reload_success"] == 0.0
        assert samples[f'lumina_policy_info{{digest="{good["digest"]}"}}'] == 1.0


async def test_successor_begins_with_what_is_in_force(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Not with what is on disk, where policy and key were spoiled since."""
    key = tmp_path / "key"
    key.write_text("A" * 43)
    async with running(
        tmp_path, redis, MORE, ENCRYPTION_KEY="", ENCRYPTION_KEY_FILE=str(key)
    ) as proxy:
        proxy.policy.write_text(BAD)
        key.write_text("no key")
        before = workers_of(proxy)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: proxy.log.count("another worker serves") == 2)

        assert not set(before) & set(workers_of(proxy))
        assert {await ask(proxy.data, OPEN) for _ in range(16)} == {200}


async def test_sigterm_under_load_fails_no_request(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Answers say that they are the last ones; who has asked is answered; exit 0."""
    async with running(tmp_path, redis, DRAIN_GRACE="1") as proxy:
        async with under_load(proxy.data) as load:
            await load.more(50)
            assert load.announced == 0
            proxy.tell(signal.SIGTERM)
            await eventually(lambda: proxy.ask("/ready")[0] == 503)
            during = load.answered
            await load.more(50)
            assert await asyncio.to_thread(proxy.wait) == 0

        assert load.failed == []
        assert load.statuses == {200: load.answered}
        assert load.announced >= load.answered - during - 8
        assert "Traceback" not in proxy.log
        assert workers_gone(proxy)


def workers_gone(proxy: ProxyProcess) -> bool:
    """Say whether no process of a proxy that ended is left."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid,ppid,args"],
        capture_output=True,
        text=True,
        check=True,
    )
    return f" {proxy.process.pid} " not in listed.stdout


async def test_workers_end_with_their_supervisor(
    tmp_path: Path, redis: RedisServer
) -> None:
    """However it ended: nobody could tell them anything any more."""
    async with running(tmp_path, redis) as proxy:
        pids = workers_of(proxy)
        proxy.process.kill()
        await asyncio.to_thread(proxy.process.wait)

        await eventually(
            lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)
        )


async def test_second_signal_hurries(tmp_path: Path, redis: RedisServer) -> None:
    """The grace is cut short; the exit is a clean one still."""
    async with running(tmp_path, redis, DRAIN_GRACE="60") as proxy:
        client = await Client.connect(proxy.data)
        await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.tell(signal.SIGTERM)
        await eventually(lambda: proxy.ask("/ready")[0] == 503)
        proxy.tell(signal.SIGTERM)

        assert await asyncio.to_thread(proxy.wait) == 0
        assert await client.rest() == b""
        await client.close()


IMPATIENT = ("-m", "tests.impatient_supervisor")


async def test_worker_that_hangs_is_replaced(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Scrapes go on with what it had counted, until another one takes its place."""
    async with running(tmp_path, redis, POLICY, IMPATIENT) as proxy:
        hung, _ = workers_of(proxy)
        assert shown(proxy)["lumina_workers"] == 2.0
        os.kill(hung, signal.SIGSTOP)
        assert shown(proxy)["lumina_workers"] == 2.0
        assert proxy.ask("/ready")[1]["checks"]["workers"] == "1 of 2"
        await eventually(lambda: "another worker serves" in proxy.log)

        assert f"worker {hung} is ended: it does not answer" in proxy.log
        assert hung not in workers_of(proxy)
        assert proxy.ask("/ready")[1]["checks"]["workers"] == "2 of 2"


async def test_worker_that_hangs_does_not_hold_up_a_reload(
    tmp_path: Path, redis: RedisServer
) -> None:
    """It is replaced by one that begins with the new policy."""
    async with running(tmp_path, redis, POLICY, IMPATIENT) as proxy:
        os.kill(workers_of(proxy)[1], signal.SIGSTOP)
        proxy.policy.write_text(MORE)
        proxy.tell(signal.SIGHUP)
        await until(proxy, "/policy", rules=3)
        await eventually(lambda: "another worker serves" in proxy.log)

        assert {await ask(proxy.data, OPEN) for _ in range(16)} == {200}


async def test_refusal_is_found_whoever_refused(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Whichever worker a request came to, the one metrics port knows why."""
    async with running(tmp_path, redis) as proxy:
        found = []
        for _ in range(8):
            client = await Client.connect(proxy.data)
            answer = await client.request(OPEN)
            await client.close()
            found.append(proxy.ask(f"/refusals/{answer['X-Request-ID']}"))
        unknown, _ = proxy.ask("/refusals/nobody")

    assert {(status, one["reason"]) for status, one in found} == {(200, "no-rule")}
    assert unknown == 404
