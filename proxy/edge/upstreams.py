"""Every backend of the policy: its servers, their connections, and their certificates.

A reload changes what requests that begin now find here, and nothing about those under
way: the connections of a server that is gone are closed after their exchange, and its
pool is forgotten then. A request that began under an earlier policy still goes where
that policy says.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Iterator
from typing import Final

from proxy.core.backends import Backend, BackendTls, Server, Timeouts
from proxy.core.message import Body, Response
from proxy.core.policy import Rule
from proxy.edge.balancer import Balancer, Tally
from proxy.edge.pool import Pool
from proxy.edge.tls import Tls, TlsError, context_for_client

log = logging.getLogger("lumina.upstream")

SLOWEST_SWEEP: Final = 1.0
"""Seconds between two looks at deadlines, or fewer where deadlines are short."""
SHORTEST_SWEEP: Final = 0.02
LOOK_AT_FILES: Final = 5.0
"""Seconds between two looks at the files of certificates."""


class Upstreams:
    """Every server of every backend.

    Args:
        look_at_files: seconds between two looks at the files of certificates.
    """

    def __init__(
        self,
        *,
        look_at_files: float = LOOK_AT_FILES,
    ) -> None:
        self._down: set[tuple[str, Server]] = set()
        self._look_at_files = look_at_files
        self._balancers: dict[str, Balancer] = {}
        self._earlier: dict[Backend, Balancer] = {}
        self._retired: list[tuple[str, Pool]] = []
        self._tallies: dict[str, Tally] = {}
        self._tls: dict[BackendTls, Tls] = {}
        self._refused: set[BackendTls] = set()
        self._loop = asyncio.get_running_loop()
        self._interval = SLOWEST_SWEEP
        self._sweeper: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch deadlines and files."""
        self._sweep()
        self._watcher = self._loop.call_later(self._look_at_files, self._watch_files)

    def _sweep(self) -> None:
        now = self._loop.time()
        self._earlier.clear()
        for _, pool in self._pools():
            pool.sweep(now)
        self._retired = [one for one in self._retired if not one[1].is_empty]
        self._sweeper = self._loop.call_later(self._interval, self._sweep)

    def _watch_files(self) -> None:
        for settings in self._tls:
            self._renew(settings)
        self._watcher = self._loop.call_later(self._look_at_files, self._watch_files)

    def _renew(self, settings: BackendTls) -> None:
        """Follow the files of a certificate; what cannot be used changes nothing."""
        try:
            if not self._tls[settings].reload():
                return
        except TlsError as error:
            self._refused.add(settings)
            log.error("the certificates in use stay: %s", error)  # noqa: TRY400
            return
        self._refused.discard(settings)
        log.info("new connections to backends use the new certificates")
        for balancer in self._balancers.values():
            if balancer.backend.tls == settings:
                # Whom the old files trusted may not be trusted any more.
                self._fill(balancer, balancer.backend, renewed=True)

    def configure(
        self, backends: Iterable[Backend], timeouts: Iterable[Timeouts] = ()
    ) -> None:
        """Have the servers of ``backends``, and no others; known ones are kept.

        Args:
            backends: of the policy.
            timeouts: that its rules have of their own.

        Raises:
            TlsError: a file of a certificate cannot be used; nothing has changed then.
        """
        wanted = {backend.id: backend for backend in backends}
        contexts = self._contexts(wanted.values())
        for settings in self._tls.keys() & contexts.keys():
            self._renew(settings)
        self._tls = contexts
        self._refused &= contexts.keys()
        for name in self._balancers.keys() - wanted.keys():
            self._retire(name, self._balancers.pop(name).pools)
        for name, backend in wanted.items():
            balancer = self._balancers.get(name)
            if balancer is None:
                tally = self._tallies.setdefault(name, Tally())
                balancer = Balancer(backend, tally, self._loop.time)
                self._balancers[name] = balancer
            self._fill(balancer, backend)
        self._interval = _interval([one.timeouts for one in wanted.values()], timeouts)

    def _contexts(self, backends: Iterable[Backend]) -> dict[BackendTls, Tls]:
        """Return the contexts that backends need, those that are known as they are."""
        contexts: dict[BackendTls, Tls] = {}
        for backend in backends:
            if not any(server.tls for server in backend.servers):
                continue
            known = self._tls.get(backend.tls)
            contexts[backend.tls] = known or context_for_client(
                ca=backend.tls.ca,
                certificate=backend.tls.certificate,
                key=backend.tls.key,
                verify=backend.tls.verify,
            )
        return contexts

    def _fill(
        self, balancer: Balancer, backend: Backend, *, renewed: bool = False
    ) -> None:
        """Give a balancer the pools of a backend; retire those that it had beside."""
        same = backend.tls == balancer.backend.tls and not renewed
        known = {
            pool.server: pool for pool in balancer.pools if same or not pool.server.tls
        }
        pools = []
        for server in backend.servers:
            pool = known.pop(server, None)
            if pool is None:
                pool = self._new_pool(backend, server, balancer)
            pool.timeouts, pool.breaker = backend.timeouts, backend.breaker
            pools.append(pool)
        gone = [pool for pool in balancer.pools if pool not in pools]
        balancer.configure(backend, pools)
        self._retire(backend.id, gone)

    def _new_pool(self, backend: Backend, server: Server, balancer: Balancer) -> Pool:
        pool = Pool(
            server,
            backend.timeouts,
            backend.breaker,
            balancer,
            tls=self._tls[backend.tls] if server.tls else None,
            server_name=backend.tls.server_name or server.host,
        )
        pool.up = (backend.id, server) not in self._down
        return pool

    def _retire(self, backend: str, pools: Iterable[Pool]) -> None:
        for pool in pools:
            pool.retire()
            self._retired.append((backend, pool))

    def tls_of(self, settings: BackendTls) -> Tls | None:
        """Return the context of a backend that was configured; None without TLS."""
        return self._tls.get(settings)

    def health_changed(self, backend: str, server: Server, up: bool) -> None:
        """Note what an active health check found; a server nobody checked is up."""
        (self._down.discard if up else self._down.add)((backend, server))
        balancer = self._balancers.get(backend)
        for pool in balancer.pools if balancer is not None else ():
            if pool.server == server:
                pool.up = up

    def exchange(
        self,
        rule: Rule,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Awaitable[Response]:
        """Exchange with a server of a rule's backend; see ``Pool.exchange``.

        Args:
            rule: of the policy in force, or of one that was.
            method: upper case.
            head: the request line and every field line, framing and the empty line
                included.
            body: all of it, or the stream.
            chunked: whether a stream is sent in chunks, because its head says so.

        Raises:
            Refused: UPSTREAM_BUSY, the backend has as many as it may have.
        """
        backend = rule.backend
        balancer = self._balancers.get(backend.id)
        if balancer is None or balancer.backend is not backend:
            balancer = self._balancer_of(backend)
        pool = balancer.only
        if pool is None:
            pool = balancer.choose()
        return pool.exchange(
            method, head, body, rule.timeouts or backend.timeouts, chunked=chunked
        )

    def _balancer_of(self, backend: Backend) -> Balancer:
        """Return the balancer for a request that began before the last reload."""
        balancer = self._balancers.get(backend.id)
        if balancer is not None and balancer.backend == backend:
            return balancer
        earlier = self._earlier.get(backend)
        if earlier is None:
            tally = self._tallies.setdefault(backend.id, Tally())
            earlier = Balancer(backend, tally, self._loop.time)
            self._tls.update(self._contexts([backend]))
            self._fill(earlier, backend)
            self._retire(backend.id, earlier.pools)
            self._earlier[backend] = earlier
        return earlier

    def _pools(self) -> Iterator[tuple[str, Pool]]:
        """Yield every pool with its backend, those that are closing last."""
        for name, balancer in self._balancers.items():
            for pool in balancer.pools:
                yield name, pool
        yield from self._retired

    def connections(self) -> list[tuple[tuple[str, str], int]]:
        """Return how many connections each backend has in each state."""
        counts: dict[tuple[str, str], int] = {}
        for name, pool in self._pools():
            for state, number in (
                ("idle", len(pool.idle)),
                ("active", pool.busy),
                ("connecting", pool.connecting),
            ):
                counts[name, state] = counts.get((name, state), 0) + number
        return list(counts.items())

    def pending(self) -> list[tuple[tuple[str], int]]:
        """Return how many requests wait for a connection to each backend."""
        counts: dict[str, int] = {}
        for name, pool in self._pools():
            counts[name] = counts.get(name, 0) + pool.pending
        return [((name,), number) for name, number in counts.items()]

    def ejected(self) -> list[tuple[tuple[str, str], float]]:
        """Return whether each server is ejected."""
        now = self._loop.time()
        return [
            ((name, pool.server.address), float(pool.ejected_until > now))
            for name, balancer in self._balancers.items()
            for pool in balancer.pools
        ]

    def retries(self) -> list[tuple[tuple[str], int]]:
        """Return how many requests were sent again, by backend."""
        return [((name,), tally.retries) for name, tally in self._tallies.items()]

    def failures(self) -> list[tuple[tuple[str, str], int]]:
        """Return how many exchanges failed, by backend and server."""
        return [
            ((name, server), number)
            for name, tally in self._tallies.items()
            for server, number in tally.failures.items()
        ]

    def ejections(self) -> list[tuple[tuple[str, str], int]]:
        """Return how often servers were ejected, by backend and server."""
        return [
            ((name, server), number)
            for name, tally in self._tallies.items()
            for server, number in tally.ejections.items()
        ]

    def certificates(self) -> list[tuple[tuple[str], float]]:
        """Return when the certificate shown to each backend expires, epoch seconds."""
        return [
            ((name,), tls.expires_at)
            for name, tls in self._named_tls()
            if tls.expires_at is not None
        ]

    def certificates_good(self) -> list[tuple[tuple[str], float]]:
        """Return whether the files of each backend's certificates could be used."""
        return [
            ((name,), float(self._balancers[name].backend.tls not in self._refused))
            for name, _ in self._named_tls()
        ]

    def _named_tls(self) -> Iterator[tuple[str, Tls]]:
        for name, balancer in self._balancers.items():
            if any(pool.tls is not None for pool in balancer.pools):
                yield name, self._tls[balancer.backend.tls]

    async def close(self) -> None:
        """Close every connection of every pool."""
        for handle in (self._sweeper, self._watcher):
            if handle is not None:
                handle.cancel()
        for _, pool in list(self._pools()):
            await pool.close()


def _interval(backends: Iterable[Timeouts], rules: Iterable[Timeouts]) -> float:
    """Return the seconds between two looks at deadlines."""
    interval = SLOWEST_SWEEP
    for timeouts in (*backends, *rules):
        interval = min(interval, timeouts.first_byte / 8, timeouts.idle / 8)
    for timeouts in backends:
        interval = min(interval, timeouts.connect / 4)
    return max(SHORTEST_SWEEP, interval)
