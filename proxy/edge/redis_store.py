"""Buckets that all processes share, in Redis.

Rules of this file:

1. One round trip for all limits of a request, and one command for all requests of a
   turn of the loop. While ``max_in_flight`` commands are under way, what comes next
   waits for a reply and goes out together: the busier, the larger the batches.
2. ``take`` never raises and never waits longer than ``timeout``. What Redis does not
   answer in time, the ``StandIn`` answers.
3. A connection that failed is never used again, since its late replies would answer
   somebody else. Until another one has been seen to answer, nobody waits for it. After
   ``max_failures`` failures in a row the next attempt comes ``probe_every`` later.

The script decides and is the only writer; this file only carries its arguments. The
server's clock counts, so that processes need not agree on the time.
"""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Final, cast

from redis.exceptions import RedisError

from proxy.core.bucket import BUCKET, Grant, grant_of
from proxy.core.counting import other_grant_of
from proxy.core.limits import Take, asks
from proxy.edge.redis_wire import RedisWire, Reply, open_wire, pool_of
from proxy.edge.stand_in import StandIn
from proxy.edge.waiter import Waiter

SCRIPT: Final = resources.files(__package__).joinpath("take.lua").read_text("utf-8")
SCRIPT_SHA1: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

MAX_BATCH_KEYS: Final = 500
"""Keys in one command: a script stops the server for everybody while it runs."""

_GRACE: Final = 0.001
"""Seconds between noticing that a batch is late and believing it."""

_SHOWN: Final = 200
"""Characters of a reply nobody expected that the log shows."""

log = logging.getLogger("lumina.limits")


class _Batch:
    """The takes that travel in one command.

    Attributes:
        deadline: loop time at which the first of them has waited long enough.
        resent: whether the script's text was sent after its digest was not known.
    """

    __slots__ = ("arguments", "deadline", "keys", "requests", "resent")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.keys: list[str] = []
        self.arguments: list[int | bytes] = []
        self.requests: list[tuple[Sequence[Take], Waiter[list[Grant]] | None]] = []
        self.resent = False

    def add(self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None) -> None:
        """Add the takes of one request; nobody waits for those that settle."""
        self.requests.append((takes, waiter))
        arguments = self.arguments
        arguments.append(len(takes) if waiter else -len(takes))
        for take in takes:
            self.keys.append(take.key)
            arguments += take.arguments

    def add_loan(self, take: Take, until_us: int) -> None:
        """Add one that is to hold more for a while; nobody waits for it."""
        self.requests.append(((take,), None))
        self.keys.append(take.key)
        self.arguments += (0, *take.arguments, until_us)


def _is_for(batch: _Batch, reply: Reply) -> bool:
    """Say whether a reply has what ``take.lua`` says of every bucket."""
    return (
        isinstance(reply, list)
        and len(reply) == 2 * len(batch.keys)
        and all(type(number) is int for number in reply)
        and min(reply[1::2]) >= 0
    )


def _grant_of(take: Take, verdict: int, level: int) -> Grant:
    """Return the grant that two numbers of a reply are."""
    allowed = verdict > 0
    ahead_us = verdict - 1 if allowed else -verdict
    limit, cost = take.limit, abs(take.cost)
    if limit.kind == BUCKET:
        return grant_of(limit, level, cost, allowed=allowed, ahead_us=ahead_us)
    return other_grant_of(limit, level, cost, allowed=allowed, ahead_us=ahead_us)


class RedisStore:
    """Buckets in Redis, with this process's own as the fallback.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        now_us: this process's clock in microseconds, for its own buckets. One
            instance is assumed: their rates are not divided.
        timeout: seconds that a take waits at the most.
        connect_timeout: seconds for a new connection: a name, a TLS handshake, AUTH,
            the script.
        max_in_flight: commands under way at a time.
        max_failures: failures in a row after which attempts are spaced.
        probe_every: seconds between spaced attempts.
        clock: what the script takes for the time instead of the server's clock, in
            microseconds; None outside of tests.

    Attributes:
        taken: requests that got all their tokens, wherever the answer came from.
        refused: requests that did not.
        batches: commands sent.
        failures: how often the connection could not be opened, broke or was late.

    Raises:
        ValueError: the URL is not one.
    """

    def __init__(
        self,
        url: str,
        now_us: Callable[[], int],
        *,
        timeout: float = 0.02,
        connect_timeout: float = 1.0,
        max_in_flight: int = 2,
        max_failures: int = 3,
        probe_every: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.taken = 0
        self.refused = 0
        self.batches = 0
        self.failures = 0
        self._pool = pool_of(url)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_in_flight = max_in_flight
        self._max_failures = max_failures
        self._probe_every = probe_every
        self._clock = clock
        self._stand_in = StandIn(now_us)
        self._wire: RedisWire | None = None
        self._pending: deque[_Batch] = deque()
        self._in_flight: deque[_Batch] = deque()
        self._flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: _Batch | None = None
        self._failures_in_row = 0
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def local(self) -> Mapping[str, int]:
        """Requests that Redis did not answer, looks included, by what did."""
        return self._stand_in.answered

    @property
    def state(self) -> str:
        """Return "ok", or "degraded" while this process's own buckets answer."""
        return "degraded" if self._wire is None else "ok"

    async def open(self) -> None:
        """Try to connect once; if that fails, go on trying in the background.

        Without it, the first take starts connecting and is answered locally.
        """
        if not await self._connect():
            self._reconnect()

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Take from every bucket what it shall cost, or from none."""
        if not takes:
            return Waiter.of([])
        if self._wire is None:
            self._reconnect()
            return Waiter.of(self._take_locally(takes))
        waiter: Waiter[list[Grant]] = Waiter()
        self._batch().add(takes, waiter)
        return waiter

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds."""
        if self._wire is None:
            self._stand_in.settle(takes)
        elif takes:
            self._batch().add(takes, None)

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket hold more until an instant, and fill it in."""
        if self._wire is None:
            self._stand_in.lend(take, until_us)
        else:
            self._batch().add_loan(take, until_us)

    async def close(self) -> None:
        """Close the connection; whoever still waits is answered locally."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._drop()

    # Sending.

    def _batch(self) -> _Batch:
        """Return the batch that is being filled."""
        if self._pending and len(self._pending[-1].keys) < MAX_BATCH_KEYS:
            return self._pending[-1]
        loop = asyncio.get_running_loop()
        batch = _Batch(loop.time() + self._timeout)
        self._pending.append(batch)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        return batch

    def _flush(self) -> None:
        """Send what may be sent; the rest goes with the next reply."""
        self._flush_scheduled = False
        wire = self._wire
        while self._pending and wire and len(self._in_flight) < self._max_in_flight:
            self._send(wire, self._pending.popleft(), "EVALSHA", SCRIPT_SHA1)

    def _send(self, wire: RedisWire, batch: _Batch, command: str, script: str) -> None:
        now = "" if self._clock is None else self._clock()
        keys = batch.keys
        wire.send((command, script, len(keys), *keys, now, *batch.arguments))
        self._in_flight.append(batch)
        self.batches += 1
        if self._timer is None:
            self._watch(batch.deadline)

    # Answers.

    def _replied(self, reply: Reply) -> None:
        wire, batch = self._wire, self._in_flight.popleft()
        if _is_for(batch, reply):
            self._failures_in_row = 0
            self._flush()  # first, so that Redis works while we do
            self._settle(batch, cast("list[int]", reply))
        elif wire and not batch.resent and str(reply).startswith("NOSCRIPT"):
            batch.resent = True
            self._send(wire, batch, "EVAL", SCRIPT)  # which loads it for the next
        else:
            self._in_flight.appendleft(batch)
            self._failed(f"Redis answered {str(reply)[:_SHOWN]!r}")

    def _settle(self, batch: _Batch, reply: list[int]) -> None:
        """Give everybody their grants; ``reply`` is verdict and level, in turns."""
        at = 0
        for takes, waiter in batch.requests:
            if waiter is None:
                at += 2 * len(takes)
                continue
            grants = []
            everywhere = True
            for take in takes:
                grant = _grant_of(take, reply[at], reply[at + 1])
                everywhere = everywhere and (grant.allowed or take.cost < 0)
                grants.append(grant)
                at += 2
            self._count(takes, everywhere=everywhere)
            waiter.set(grants)

    def _count(self, takes: Sequence[Take], *, everywhere: bool) -> None:
        if not everywhere:
            self.refused += 1
        elif asks(takes):
            self.taken += 1

    def _take_locally(self, takes: Sequence[Take]) -> list[Grant]:
        grants = self._stand_in.take(takes)
        self._count(takes, everywhere=all(grant.allowed for grant in grants))
        return grants

    # Failures.

    def _watch(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(when, self._check_deadlines)

    def _check_deadlines(self) -> None:
        """Give up on the connection when a batch is late; one timer serves them all."""
        self._timer = None
        if not self._in_flight:
            return
        # A batch that was sent again stands behind younger ones.
        batch = min(self._in_flight, key=lambda batch: batch.deadline)
        now = asyncio.get_running_loop().time()
        if now < batch.deadline:
            self._watch(batch.deadline)
        elif batch is not self._overdue:
            # Perhaps it is this loop that was late: let it read the socket once more.
            self._overdue = batch
            self._watch(now + _GRACE)
        else:
            self._failed("Redis did not answer in time")

    def _lost(self) -> None:
        self._failed("Redis closed the connection")

    def _failed(self, why: str) -> None:
        """Give up on the connection; answer everybody, and look for another."""
        self.failures += 1
        self._failures_in_row += 1
        log.warning("%s; limits are counted locally until it does again", why)
        self._drop()
        self._reconnect()

    def _drop(self) -> None:
        """Let go of the connection, and answer locally whoever waits for it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._overdue = None
        batches = (*self._in_flight, *self._pending)
        self._in_flight.clear()
        self._pending.clear()
        for batch in batches:
            for takes, waiter in batch.requests:
                if waiter is None:
                    self._stand_in.settle(takes)
                else:
                    waiter.set(self._take_locally(takes))

    # Connecting.

    def _reconnect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        try:
            connected = False
            while not connected:
                if self._failures_in_row >= self._max_failures:
                    await asyncio.sleep(self._probe_every)
                connected = await self._connect()
        finally:
            self._connecting = None

    async def _connect(self) -> bool:
        try:
            async with asyncio.timeout(self._connect_timeout):
                self._wire = await open_wire(
                    self._pool, SCRIPT, self._replied, self._lost
                )
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self.failures += 1
            self._failures_in_row += 1
            log.debug("no connection to Redis: %s", type(error).__name__)
            return False
        log.info("connected to Redis; limits are shared")
        return True
