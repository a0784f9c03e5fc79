"""The data path without the kernel: what the Python of one request costs.

``python -m tests.benchmarks.micro`` joins the real listener, pipeline, pool and stores
with transports that keep what is written to them, and plays the parts of client,
backend and Redis by hand. What is left is the proxy's own work, steady enough to see a
change of a tenth of a microsecond; sockets come on top, see ``make bench``.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import uvloop
from redis.asyncio.connection import AbstractConnection

from proxy.app import App
from proxy.edge.downstream import DownstreamConnection
from proxy.edge.redis_batch import Batch
from proxy.edge.redis_store import RedisStore
from proxy.edge.redis_wire import RedisWire
from proxy.edge.upstream import UpstreamConnection
from proxy.settings import Settings
from tests.benchmarks.credentials import make_credentials

CONNECTIONS = 64
TURNS = 100
TEMPLATES = Path(__file__).parent / "templates"

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
    b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 24\r\nConnection: keep-alive\r\n\r\n"
    b'{"id":42,"progress":0.8}'
)


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)

    def writelines(self, lines: Sequence[bytes]) -> None:
        """Keep them."""
        self.written.extend(lines)

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        """Say who the peer is."""
        return "127.0.0.1", 40000

    def is_closing(self) -> bool:
        """Say that it is open."""
        return False

    def set_protocol(self, _protocol: object) -> None:
        """Nobody is told: the protocol is called by hand."""

    def pause_reading(self) -> None:
        """Read on all the same: all is there already."""

    resume_reading = abort = close = pause_reading


class Writer:
    """What redis-py hands over: a transport to write to."""

    def __init__(self) -> None:
        self.transport = Wire()


class Connection:
    """A connection of redis-py, as far as ``RedisWire`` looks at it."""

    def __init__(self) -> None:
        self._writer = Writer()


class Rig:
    """An application whose sockets are played by hand."""

    def __init__(self, folder: Path, policy: str, *, redis: bool) -> None:
        credentials = make_credentials(folder, ("HS256",))
        text = (TEMPLATES / policy).read_text(encoding="utf-8")
        for name, value in {
            "backend": "9",
            "algorithm": "HS256",
            "key": f'secret: "{credentials.secret}"',
            "rate": "1000000/hour",
        }.items():
            text = text.replace(f"@{{{name}}}", value)
        path = folder / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        environment = {
            "POLICY": str(path),
            "ENCRYPTION_KEY": credentials.encryption_key,
            "LISTEN": "127.0.0.1:0",
            "METRICS_LISTEN": "127.0.0.1:0",
            "ACCESS_LOG": "none",
            **({"REDIS_URL": "redis://127.0.0.1:9/0"} if redis else {}),
        }
        self.app = App(Settings.read(environment), environment)
        self.app._build()
        serving = self.app._serving
        store = serving._store
        self.store = store if isinstance(store, RedisStore) else None
        if self.store is not None:
            link = self.store._link
            opened = cast("AbstractConnection", Connection())
            link._wire = RedisWire(opened, link._replied, link._lost)
            link.open = True
            # A timer that is there already is not set again.
            link._timer = asyncio.get_running_loop().call_later(3600, list)
        ((_, pool),) = serving._upstreams._pools()
        self.upstream: list[tuple[UpstreamConnection, Wire]] = []
        for _ in range(CONNECTIONS):
            connection, wire = UpstreamConnection(pool), Wire()
            connection.connection_made(cast("asyncio.Transport", wire))
            pool.idle.append(connection)
            self.upstream.append((connection, wire))
        self.downstream: list[tuple[DownstreamConnection, Wire]] = []
        for _ in range(CONNECTIONS):
            client, wire = (
                DownstreamConnection(serving._listening._listeners["default"]),
                Wire(),
            )
            client.connection_made(cast("asyncio.Transport", wire))
            self.downstream.append((client, wire))
        with credentials.tokens["HS256"].open(encoding="ascii") as lines:
            self.requests = [
                b"GET /api/users/42 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
                b"Authorization: Bearer " + line.strip().encode() + b"\r\n\r\n"
                for line in lines
            ]

    async def turn(self) -> None:
        """Let every client ask once, and everybody be answered."""
        for number, (client, _) in enumerate(self.downstream):
            client.data_received(self.requests[number])
        store = self.store
        if store is not None and store._link._wire is not None:
            await asyncio.sleep(0)
            for batch in list(store._link._in_flight):
                keys = len(cast("Batch", batch).keys)
                store._link._wire.data_received(
                    b"*%d\r\n" % (2 * keys) + b":1\r\n:3000000000\r\n" * keys
                )
        for connection, wire in self.upstream:
            if wire.written:
                wire.written.clear()
                connection.data_received(ANSWER)
        for _, wire in self.downstream:
            if not wire.written or not wire.written[0].startswith(b"HTTP/1.1 200"):
                raise AssertionError(wire.written)
            wire.written.clear()


async def measure(rig: Rig, rounds: int) -> float:
    """Return seconds for each request: the median of the rounds."""
    for _ in range(20):
        await rig.turn()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    samples = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(TURNS):
            await rig.turn()
        samples.append((time.process_time() - started) / TURNS / CONNECTIONS)
    return statistics.median(samples)


CASES = {
    "open": ("policy-open.yaml", False),
    "local": ("policy.yaml", False),
    "redis": ("policy.yaml", True),
}


def main(arguments: list[str]) -> int:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.micro", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    flags = parser.parse_args(arguments)
    for name in flags.only:
        policy, redis = CASES[name]

        async def run(policy: str = policy, *, redis: bool = redis) -> float:
            with tempfile.TemporaryDirectory() as folder:
                return await measure(
                    Rig(Path(folder), policy, redis=redis), flags.rounds
                )

        print(f"{name:8}{uvloop.run(run()) * 1e6:6.2f} µs/request")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
