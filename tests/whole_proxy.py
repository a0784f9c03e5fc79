"""The whole data path in this process, over real sockets, before a scripted backend.

For what takes both sides of the proxy to see. The parts are those of the program; only
who watches (``Seen``) is the test's.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import jwt

from proxy.core.authn import Trusted
from proxy.core.exchange import Exchange
from proxy.core.policy_parser import parse_policy
from proxy.edge.audit_log import AuditLines
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.metrics import Metrics
from proxy.edge.sockets import bind
from proxy.edge.tunnels import Tunnels
from proxy.edge.upstreams import Upstreams
from proxy.pipeline import Pipeline
from proxy.ports import Clocks
from proxy.snapshots import snapshot_of
from proxy.trust import Trust
from tests.wire import Client, Script, backend, eventually

SECRET = "thirty-two bytes, every one of which is a secret"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
FAR = 4_000_000_000
"""An instant, in epoch seconds, that no test will see."""

POLICY = """
version: 1
backends:
  lms:
    servers: ["http://127.0.0.1:${PORT}"]
    timeouts: {first_byte: 2s, idle: 2s}
issuers:
  people:
    {issuer: people, audience: lms, algorithms: [HS256], secret: "${SECRET}",
     roles: $.role}
roles: [student, teacher]
rules:
  - {id: open, match: "* /open/{path...}", allow: anyone}
  - {id: room, match: GET /room, allow: [student, teacher], upgrade: [websocket]}
  - id: stays
    match: GET /stays
    allow: [student]
    upgrade: {protocols: [websocket, shout], idle: 1s, close_on_expiry: false}
  - {id: hall, match: "* /hall", allow: anyone, upgrade: [websocket, shout]}
"""


def token(subject: str = "ada", role: str = "student", **claims: Any) -> str:
    """Return a token of the policy's issuer."""
    usual = {"iss": "people", "aud": "lms", "sub": subject, "role": role, "exp": FAR}
    return jwt.encode(usual | claims, SECRET, "HS256")


class Seen:
    """What the pipeline told whoever watches.

    Attributes:
        exchanges: those that are over.
        bugs: what was answered with 500.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.bugs: list[BaseException] = []

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        self.exchanges.append(exchange)

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note one protected leaf."""

    def failed(self, error: BaseException, _: Exchange) -> None:
        """Note a bug."""
        self.bugs.append(error)


class WholeProxy:
    """A data path that listens.

    Attributes:
        listener: its client side.
        upstreams: its backend side.
        tunnels: what is neither any more.
        seen: what it told.
        backend: the port of its backend.
    """

    def __init__(
        self,
        port: int,
        policy: str,
        limits: WireLimits,
        wall: Callable[[], float],
        tunnels: Tunnels,
    ) -> None:
        environment = {"PORT": str(port), "SECRET": SECRET, "ENCRYPTION_KEY": KEY}
        compiled, _ = parse_policy([("policy.yaml", policy)], environment)
        self.backend = port
        self.seen = Seen()
        self.tunnels = tunnels
        self.upstreams = Upstreams()
        self.upstreams.configure(compiled.backends.values())
        numbers = iter(range(1, 1_000_000_000))
        self.pipeline = Pipeline(
            snapshot_of(compiled, environment),
            store=MemoryStore(lambda: time.time_ns() // 1000),
            upstream=self.upstreams,
            recorder=self.seen,
            auditor=AuditLines(),
            inquiries=Trust(
                Trusted(), Metrics(now=time.time, version="0"), None, tunnels
            ),
            clocks=Clocks(
                wall=wall,
                monotonic=time.perf_counter,
                request_id=lambda: f"id-{next(numbers)}",
            ),
            body_bytes=limits.body_bytes,
            buffered_bytes=limits.buffered_bytes,
        )
        self.listener = Listener(
            self.pipeline,
            limits,
            tunnels=tunnels,
            trusts=lambda _: False,
            on_failure=self.seen.bugs.append,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listener.port

    def open_to_backend(self, *states: str) -> int:
        """Return how many connections to the backend are in one of ``states``."""
        rows = self.upstreams.connections()
        return sum(int(count) for (_, state), count in rows if state in states)

    async def settled(self) -> None:
        """Wait until no client is connected and nothing is asked of the backend."""
        await eventually(
            lambda: (
                self.listener.connections == 0
                and self.open_to_backend("active", "connecting") == 0
                and not sum(count for _, count in self.tunnels.open_by_rule())
            )
        )


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found += str(descriptor.readlink()).startswith("socket:")
    return found


@contextlib.asynccontextmanager
async def whole_proxy(
    script: Script,
    policy: str = POLICY,
    limits: WireLimits | None = None,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[WholeProxy]:
    """Run a proxy before a backend that plays ``script`` on each connection.

    When it has been stopped, nothing of it may be left: no task, no socket; and
    none of its requests may have been a bug.
    """
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    async with backend(script) as port:
        tunnels = Tunnels(wall, interval=0.02, close_seconds=1.0)
        proxy = WholeProxy(port, policy, limits or WireLimits(), wall, tunnels)
        proxy.upstreams.start()
        await proxy.listener.start(bind("127.0.0.1", 0))
        try:
            yield proxy
        finally:
            await proxy.listener.stop()
            await proxy.upstreams.close()
    assert proxy.seen.bugs == []
    tasks.add(cast("asyncio.Task[object]", asyncio.current_task()))
    await eventually(lambda: asyncio.all_tasks() <= tasks and open_sockets() <= sockets)


@contextlib.asynccontextmanager
async def client_of(proxy: WholeProxy) -> AsyncIterator[Client]:
    """Connect a client for the length of a block."""
    client = await Client.connect(proxy.port)
    try:
        yield client
    finally:
        await client.close()
