"""Buckets in a Redis Cluster: a link to each master, and who has which slot.

Rules of this file:

1. The takes of one turn of the loop are one command for each master. Such a command
   declares no keys, since a Cluster wants declared keys to be in one slot; a script
   may use every slot of its server, and fails before it has written anything when one
   is elsewhere.
2. Then the map of slots is old. Each request of the command goes out once more, alone
   and with its keys declared, so that the servers say where the keys are (MOVED, ASK).
   Until the map has been read again, the requests of those slots go alone at once.
3. Buckets of one owner share a slot, and those of one server are taken all or none. A
   request whose buckets are with several servers takes from each of them at once; if
   one refuses, what the others gave is given back. For that moment a bucket has fewer
   tokens than nobody took, never more: at most the costs of requests under way.
"""

import asyncio
import binascii
import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.bucket import MICROSECONDS, Grant
from proxy.core.limits import Take
from proxy.edge.cluster_map import SLOTS, Ranges, ask_for_slots
from proxy.edge.redis_address import RedisAddress, Server
from proxy.edge.redis_batch import TOLD, Batch, Loan, Part, RedisTimes, Told
from proxy.edge.redis_link import SCRIPT, RedisLink
from proxy.edge.redis_store import SharedStore
from proxy.edge.redis_wire import open_wire
from proxy.edge.stand_in import served, spent
from proxy.edge.tasks import end
from proxy.edge.waiter import Waiter

_MAX_MOVES: Final = 3
"""How often a request is sent after its keys."""
_ASK_EVERY: Final = 30.0
"""Seconds between two readings of the map when nothing seems wrong with it."""

log = logging.getLogger("lumina.limits")


def slot_of(key: str) -> int:
    """Return the slot of a key: CRC-16 of its hash tag (Redis Cluster specification).

    Example:
        >>> slot_of("lb:{s:user_123}:api") == slot_of("s:user_123")
        True
    """
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) & (SLOTS - 1)


class ClusterStore(SharedStore):
    """Buckets in the masters of a Redis Cluster.

    Args:
        url: ``redis+cluster://`` or ``rediss+cluster://``.
        now_us: this process's clock in microseconds, for its own buckets.
        timeout: seconds that a take waits at the most.
        connect_timeout: seconds for a new connection.
        max_in_flight: commands under way at a time, for each master.
        max_failures: failures in a row after which attempts are spaced.
        probe_every: seconds between spaced attempts, and between two readings of the
            map while something is wrong with it.
        clock: what the script takes for the time instead of the servers' clocks, in
            microseconds; None outside of tests.

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
        times = RedisTimes(
            timeout, connect_timeout, max_in_flight, max_failures, probe_every, clock
        )
        super().__init__(now_us, times)
        self._address = RedisAddress.parse(url)
        if self._address.kind != "cluster":
            raise ValueError("not the URL of a Cluster")
        self._links: dict[Server, RedisLink] = {}
        self._slots: list[RedisLink | None] = [None] * SLOTS
        self._unsure: set[int] = set()
        self._outdated = asyncio.Event()
        self._mapping: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """Return "ok", or "degraded" while a slot has no server that answers."""
        links = self._links.values()
        whole = links and None not in self._slots and all(one.open for one in links)
        return "ok" if whole else "degraded"

    async def open(self) -> None:
        """Read the map and connect once; if that fails, go on in the background."""
        await self._read_map()
        self._mapping = asyncio.create_task(self._keep_map())
        self._heartbeat.start(self._link_of)

    async def close(self) -> None:
        """Close the connections; whoever still waits is answered locally."""
        await end(self._mapping)
        await super().close()
        for link in self._links.values():
            await link.close()

    # Taking.

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Take from every bucket what it shall cost, or from none."""
        if not takes:
            return Waiter.of([])
        slot = slot_of(takes[0].key)
        link = self._slots[slot]
        waiter: Waiter[list[Grant]] = Waiter()
        if slot in self._unsure or not self._is_one(takes, slot, link):
            self._take_apart(takes, waiter)
        elif link is not None and link.open:
            link.add(takes, waiter)
        else:
            self.unanswered(takes, waiter)
        return waiter

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds."""
        for slot, some in self._groups(takes):
            if self._answers(slot):
                self._send(slot, some, None)
            else:
                self._stand_in.settle(some)

    def lend(self, take: Take, until_us: int) -> None:
        """Let a bucket hold more until an instant, and fill it in."""
        self._send(slot_of(take.key), (take,), Loan(until_us))

    def tell(self, takes: Sequence[Take]) -> None:
        """Settle what the stand-in has settled by itself; owe what cannot be sent."""
        for slot, some in self._groups(takes):
            self._send(slot, some, TOLD)

    def _answers(self, slot: int) -> bool:
        link = self._slots[slot]
        return link is not None and link.open

    def _link_of(self, key: str) -> RedisLink | None:
        return self._slots[slot_of(key)]

    def _is_one(self, takes: Sequence[Take], slot: int, link: RedisLink | None) -> bool:
        """Say whether all buckets of a request are in one slot, or on one server."""
        for one in takes:
            other = slot_of(one.key)
            if other != slot and (
                other in self._unsure or self._slots[other] is not link
            ):
                return False
        return True

    def _groups(self, takes: Sequence[Take]) -> list[tuple[int, list[Take]]]:
        """Return takes by where they go together: a slot of theirs, and they.

        What is in slots of which the map is not sure goes slot by slot, the rest server
        by server.
        """
        groups: dict[int, tuple[int, list[Take]]] = {}
        for one in takes:
            slot = slot_of(one.key)
            # A link's id is never that small.
            where = slot if slot in self._unsure else id(self._slots[slot])
            groups.setdefault(where, (slot, []))[1].append(one)
        return list(groups.values())

    def _send(
        self, slot: int, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None
    ) -> None:
        """Send what goes together: with the others, or alone."""
        link = self._slots[slot]
        if link is None or not link.open:
            self.unanswered(takes, waiter)
        elif slot in self._unsure:
            deadline = asyncio.get_running_loop().time() + self._times.timeout
            batch = Batch(deadline, alone=True)
            batch.add(takes, waiter)
            link.send_alone(batch)
        else:
            link.add(takes, waiter)

    def _take_apart(self, takes: Sequence[Take], waiter: Waiter[list[Grant]]) -> None:
        groups = self._groups(takes)
        if len(groups) == 1:
            self._send(groups[0][0], takes, waiter)
        else:
            _Apart(self, takes, waiter).take(groups)

    def unanswered(
        self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None
    ) -> None:
        """Answer what a link has not answered."""
        if isinstance(waiter, Part) and not isinstance(waiter, (Told, Loan)):
            waiter.local = True
            waiter.set(self._stand_in.take(takes))
        else:
            super().unanswered(takes, waiter)

    def give_back(self, taken: Sequence[Take], *, local: bool) -> None:
        """Give back what a part of a request took, for another part was refused."""
        back = [one.costing(-one.cost) for one in taken]
        if local:
            self._stand_in.settle(back)
        else:
            self.settle(back)

    # Keys that are elsewhere.

    def misplaced(self, batch: Batch, error: str) -> bool:
        """Send a batch after its keys; False to let it fail."""
        words = error.split()
        if words[0] in {"MOVED", "ASK"} and batch.alone:
            self._follow(batch, words)
        elif words[0] == "TRYAGAIN" and batch.alone:
            self._give_up(batch)  # a request's keys are on both sides of a move
        elif "non local key" in error and not batch.alone:
            self._unsure.update([slot_of(key) for key in batch.keys])
            for takes, waiter in batch.requests:
                self._again(takes, waiter)
        else:
            return False
        self._outdated.set()
        return True

    def _again(self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None) -> None:
        if waiter is None:
            self.settle(takes)
        elif isinstance(waiter, Told):
            self.tell(takes)
        elif isinstance(waiter, Loan):
            self._send(slot_of(takes[0].key), takes, waiter)
        elif isinstance(waiter, Part) and len(self._groups(takes)) > 1:
            # A part that falls apart: not worth a tree of parts.
            self.unanswered(takes, waiter)
        else:
            self._take_apart(takes, waiter)

    def _follow(self, batch: Batch, words: Sequence[str]) -> None:
        """Send a batch to the server that an error names: ``MOVED 7 10.0.0.1:6379``."""
        host, _, port = words[2].rpartition(":")
        link = self._links.get((host, int(port)))
        if link is None:
            link = self._links[host, int(port)] = self._new_link((host, int(port)))
            link.reconnect()
        if words[0] == "MOVED":
            self._slots[int(words[1])] = link
        batch.moves += 1
        in_time = asyncio.get_running_loop().time() < batch.deadline
        if link.open and in_time and batch.moves <= _MAX_MOVES:
            link.send_alone(batch, asking=words[0] == "ASK")
        else:
            self._give_up(batch)

    def _give_up(self, batch: Batch) -> None:
        for takes, waiter in batch.requests:
            self.unanswered(takes, waiter)

    # The map.

    def failed(self, link: RedisLink) -> None:
        """Count it, and see whether another server has the slots now."""
        super().failed(link)
        self._outdated.set()

    async def _keep_map(self) -> None:
        while True:
            if self.state == "ok":
                # It may have changed all the same, so not for ever.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_EVERY):
                        await self._outdated.wait()
            self._outdated.clear()
            await self._read_map()
            # However wrong it is, the servers are asked only now and then.
            await asyncio.sleep(self._times.probe_every)

    async def _read_map(self) -> None:
        answering = [server for server, link in self._links.items() if link.open]
        others = [*self._links, *self._address.servers]
        servers = list(dict.fromkeys((*answering, *others)))
        ranges = await ask_for_slots(self._address, servers)
        if ranges is None:
            log.debug("no server of the cluster says where slots are")
            return
        await self._apply(ranges)

    async def _apply(self, ranges: Ranges) -> None:
        """Connect to the masters that the map names, and to no others."""
        new = {}
        for _, _, server in ranges:
            if server not in self._links and server not in new:
                new[server] = self._new_link(server)
        self._links.update(new)
        await asyncio.gather(*(link.connect() for link in new.values()))
        slots: list[RedisLink | None] = [None] * SLOTS
        for first, last, server in ranges:
            slots[first : last + 1] = [self._links[server]] * (last + 1 - first)
        self._slots, self._unsure = slots, set()
        named = {server for _, _, server in ranges}
        for server in self._links.keys() - named:
            await self._links.pop(server).close()
        for link in self._links.values():
            if link.open:
                self.opened(link)  # for slots that had no server before
            else:
                link.reconnect()

    def _new_link(self, server: Server) -> RedisLink:
        connect = functools.partial(open_wire, self._address.pool(server), SCRIPT)
        return RedisLink(self, connect, self._times, spread=True)


class _Apart:
    """One request whose buckets are with several servers."""

    __slots__ = ("_left", "_parts", "_store", "_takes", "_waiter")

    def __init__(
        self, store: ClusterStore, takes: Sequence[Take], waiter: Waiter[list[Grant]]
    ) -> None:
        self._store = store
        self._takes = takes
        self._waiter = waiter
        self._parts: list[tuple[Part, list[Take]]] = []
        self._left = 0

    def take(self, groups: Sequence[tuple[int, list[Take]]]) -> None:
        """Take each group where it is."""
        self._left = len(groups)
        for slot, takes in groups:
            part = Part()
            self._parts.append((part, takes))
            part.resume_with(self._arrived)
            self._store._send(slot, takes, part)  # noqa: SLF001 - one mechanism

    def _arrived(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._finish()

    def _finish(self) -> None:
        """Answer the request; when a part was refused, give back the others."""
        parts = [(part, takes, part.result()) for part, takes in self._parts]
        everywhere = all(served(takes, grants) for _, takes, grants in parts)
        found: dict[int, Grant] = {}
        for part, takes, grants in parts:
            if not everywhere and served(takes, grants):
                self._store.give_back(spent(takes, grants), local=part.local)
                grants = [_before(*one) for one in zip(takes, grants, strict=True)]
            for one, grant in zip(takes, grants, strict=True):
                found[id(one)] = grant
        self._store.count(self._takes, everywhere=everywhere)
        self._waiter.set([found[id(one)] for one in self._takes])


def _before(take: Take, grant: Grant) -> Grant:
    """Return what a limit says that got back what was taken from it."""
    if not grant.allowed or not take.cost:
        return grant
    cost, limit = abs(take.cost), take.limit
    filled = cost * limit.token / limit.refill / MICROSECONDS if limit.refill else 0.0
    reset_after = max(0.0, round(grant.reset_after - filled, 6))
    return Grant(True, min(grant.remaining + cost, limit.burst), 0.0, reset_after)
