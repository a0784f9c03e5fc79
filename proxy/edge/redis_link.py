"""The way to one Redis server: takes go out in batches, and nobody waits for long.

Rules of this file:

1. One command for all requests of a turn of the loop. While ``max_in_flight`` batches
   are under way, what comes next waits for a reply and goes out together: the busier,
   the larger the batches.
2. Nobody waits longer than ``timeout``. What the server does not answer in time is
   handed back to the owner.
3. A connection that failed is never used again, since its late replies would answer
   somebody else. Until another one has been seen to answer, the link is not open. After
   ``max_failures`` failures in a row the next attempt comes ``probe_every`` later.

The script decides and is the only writer; this file only carries its arguments. The
server's clock counts, so that processes need not agree on the time.
"""

import abc
import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Final, cast

import hiredis
from redis.exceptions import RedisError

from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.edge.redis_batch import (
    Batch,
    Call,
    Loan,
    Part,
    RedisTimes,
    Sent,
    Told,
    grants_of,
    is_for,
)
from proxy.edge.redis_wire import RedisWire, Reply
from proxy.edge.tasks import end
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

Connect = Callable[
    [Callable[[Reply], object], Callable[[], object]], Awaitable[RedisWire]
]
"""Opens a wire, given what it calls with each reply and when it is lost.

Raises RedisError or OSError when it cannot."""


class LinkOwner(abc.ABC):
    """The store that a link belongs to."""

    @abc.abstractmethod
    def count(self, takes: Sequence[Take], *, everywhere: bool) -> None:
        """Note a request that was answered."""

    @abc.abstractmethod
    def unanswered(
        self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None
    ) -> None:
        """Answer a request that the link has not answered."""

    @abc.abstractmethod
    def misplaced(self, batch: Batch, error: str) -> bool:
        """See to a batch whose keys are on another server; False to let it fail."""

    @abc.abstractmethod
    def sent(self) -> None:
        """Note a batch that was sent."""

    @abc.abstractmethod
    def opened(self, link: "RedisLink") -> None:
        """Note that a link answers."""

    @abc.abstractmethod
    def failed(self, link: "RedisLink") -> None:
        """Note that a link does not answer any more, or could not be opened."""


class RedisLink:
    """Carries takes to one server, while it answers.

    Args:
        owner: is told what becomes of requests and of the link.
        connect: opens a wire to the server.
        times: how patient it is.
        spread: whether the server is one of a cluster, which takes a command over keys
            of several slots only if it does not declare them.

    Attributes:
        open: whether takes may be sent.
    """

    def __init__(
        self,
        owner: LinkOwner,
        connect: Connect,
        times: RedisTimes,
        *,
        spread: bool = False,
    ) -> None:
        self.open = False
        self._owner = owner
        self._connect_wire = connect
        self._times = times
        self._spread = spread
        self._wire: RedisWire | None = None
        self._pending: deque[Batch] = deque()
        self._in_flight: deque[Sent] = deque()
        self._flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: Sent | None = None
        self._failures_in_row = 0
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None) -> None:
        """Send takes with the next batch; the link must be open."""
        if self._pending and len(self._pending[-1].keys) < MAX_BATCH_KEYS:
            self._pending[-1].add(takes, waiter)
            return
        loop = asyncio.get_running_loop()
        batch = Batch(loop.time() + self._times.timeout, alone=not self._spread)
        batch.add(takes, waiter)
        self._pending.append(batch)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush)

    def send_alone(self, batch: Batch, *, asking: bool = False) -> None:
        """Send a batch of one request at once; the link must be open.

        Args:
            batch: whose keys are in one slot.
            asking: whether the slot is only on its way to this server.
        """
        wire = self._wire
        if wire is None:
            self._hand_back(batch)
            return
        if asking:
            wire.send(("ASKING",))
            self._in_flight.append(Call(batch.deadline, _ignore))
        self._send(wire, batch, "EVALSHA", SCRIPT_SHA1)

    def call(
        self,
        command: tuple[str | int | bytes, ...],
        on_reply: Callable[[Reply], object],
    ) -> None:
        """Send another command, unless the link is lost; its reply may never come."""
        if self._wire is not None:
            deadline = asyncio.get_running_loop().time() + self._times.timeout
            self._wire.send(command)
            self._in_flight.append(Call(deadline, on_reply))
            if self._timer is None:
                self._watch(deadline)

    # Sending.

    def _flush(self) -> None:
        """Send what may be sent; the rest goes with the next reply."""
        self._flush_scheduled = False
        wire, most = self._wire, self._times.max_in_flight
        while self._pending and wire is not None and len(self._in_flight) < most:
            self._send(wire, self._pending.popleft(), "EVALSHA", SCRIPT_SHA1)

    def _send(self, wire: RedisWire, batch: Batch, command: str, script: str) -> None:
        clock = self._times.clock
        now = "" if clock is None else clock()
        keys = batch.keys
        if batch.alone:
            wire.send((command, script, len(keys), *keys, now, *batch.arguments))
        else:
            wire.send((command, script, 0, now, len(keys), *keys, *batch.arguments))
        self._in_flight.append(batch)
        self._owner.sent()
        if self._timer is None:
            self._watch(batch.deadline)

    # Answers.

    def _replied(self, reply: Reply) -> None:
        if not self._in_flight:
            self._failed("Redis spoke out of turn")
            return
        sent = self._in_flight.popleft()
        if not isinstance(sent, Batch):
            cast("Call", sent).on_reply(reply)
            self._flush()
        elif is_for(sent, reply):
            self._failures_in_row = 0
            self._flush()  # first, so that Redis works while we do
            self._settle(sent, cast("list[int]", reply))
        elif not isinstance(reply, hiredis.ReplyError) or not self._sees_to(
            sent, str(reply)
        ):
            self._in_flight.appendleft(sent)
            self._failed(f"Redis answered {str(reply)[:_SHOWN]!r}")

    def _sees_to(self, batch: Batch, error: str) -> bool:
        """Do what an error asks for; False when nothing is to be done but give up."""
        if error.startswith("NOSCRIPT") and not batch.resent and self._wire is not None:
            batch.resent = True
            self._send(self._wire, batch, "EVAL", SCRIPT)  # which loads it for the next
            return True
        if self._spread and self._owner.misplaced(batch, error):
            self._flush()
            return True
        return False

    def _settle(self, batch: Batch, reply: list[int]) -> None:
        """Give everybody their grants; ``reply`` is verdict and level, in turns."""
        at = 0
        for takes, waiter in batch.requests:
            if waiter is not None and not isinstance(waiter, (Told, Loan)):
                grants, everywhere = grants_of(takes, reply, at)
                if not isinstance(waiter, Part):
                    self._owner.count(takes, everywhere=everywhere)
                waiter.set(grants)
            at += 2 * len(takes)

    # Failures.

    def _watch(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(when, self._check_deadlines)

    def _check_deadlines(self) -> None:
        """Give up on the connection when a reply is late; one timer serves them all."""
        self._timer = None
        if not self._in_flight:
            return
        # What was sent again stands behind what is younger.
        sent = min(self._in_flight, key=lambda sent: sent.deadline)
        now = asyncio.get_running_loop().time()
        if now < sent.deadline:
            self._watch(sent.deadline)
        elif sent is not self._overdue:
            # Perhaps it is this loop that was late: let it read the socket once more.
            self._overdue = sent
            self._watch(now + _GRACE)
        else:
            self._failed("Redis did not answer in time")

    def _lost(self) -> None:
        self._failed("Redis closed the connection")

    def _failed(self, why: str) -> None:
        """Give up on the connection: hand back what waits for it, look for another."""
        self._failures_in_row += 1
        log.warning("%s; limits are counted locally until it does again", why)
        self._drop()
        self._owner.failed(self)
        self.reconnect()

    def _drop(self) -> None:
        """Let go of the connection, and hand back what waits for it."""
        wire, self._wire, self.open = self._wire, None, False
        if wire is not None:
            wire.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._overdue = None
        all_sent = (*self._in_flight, *self._pending)
        self._in_flight.clear()
        self._pending.clear()
        for sent in all_sent:
            if isinstance(sent, Batch):
                self._hand_back(sent)

    def _hand_back(self, batch: Batch) -> None:
        for takes, waiter in batch.requests:
            self._owner.unanswered(takes, waiter)

    # Connecting.

    async def connect(self) -> bool:
        """Try once to connect; say whether the link is open."""
        try:
            async with asyncio.timeout(self._times.connect_timeout):
                wire = await self._connect_wire(self._replied, self._lost)
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._failures_in_row += 1
            log.debug("no connection to Redis: %s", type(error).__name__)
            self._owner.failed(self)
            return False
        if self.open or self._closed:  # another attempt was faster, or nobody wants it
            wire.close()
            return self.open
        self._wire, self.open = wire, True
        log.info("connected to Redis; limits are shared")
        self._owner.opened(self)
        return True

    def reconnect(self) -> None:
        """Go on trying to connect, if that is not under way."""
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        try:
            connected = self.open
            while not connected:
                if self._failures_in_row >= self._times.max_failures:
                    await asyncio.sleep(self._times.probe_every)
                connected = await self.connect()
        finally:
            self._connecting = None

    async def close(self) -> None:
        """Close the connection; whoever still waits is handed back."""
        self._closed = True
        await end(self._connecting)
        self._drop()


def _ignore(_: Reply) -> None:
    """Wait for no answer but that there is one."""
