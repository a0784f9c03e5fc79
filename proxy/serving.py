"""What serves requests in one process: wired here, started, drained and stopped.

Everything is wired by constructor arguments. Nothing about a request is decided here,
and nobody here knows whether this process is the only one (``app``).
"""

import dataclasses
import gc
import logging
from collections.abc import Callable, Mapping

from proxy import bindings
from proxy.core.forwarding import Network, is_trusted
from proxy.core.policy import OnStoreFailure, Policy
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.cluster_store import ClusterStore
from proxy.edge.health import HealthChecks
from proxy.edge.limiter import Limiter
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.metrics import Metrics
from proxy.edge.pool import Upstreams
from proxy.edge.redis_address import RedisAddress
from proxy.edge.redis_store import RedisStore, SharedStore
from proxy.pipeline import Pipeline
from proxy.ports import Snapshot
from proxy.settings import Address, Settings
from proxy.snapshots import StartError

log = logging.getLogger("lumina")

_GC_THRESHOLD = 20_000
"""Allocations between collections of the young; a request leaves no cycles behind."""


def _trusts(networks: tuple[Network, ...]) -> Callable[[str], bool]:
    if not networks:
        return lambda _: False
    return lambda address: is_trusted(address, networks)


async def listen(start: Callable[[str, int], object], address: Address) -> None:
    """Start something at an address.

    Raises:
        StartError: the address is not to be had.
    """
    try:
        await start(address.host, address.port)  # type: ignore[misc]
    except OSError as error:
        raise StartError(
            f"Cannot listen on {address}: {error.strerror or error}."
        ) from None


class Serving:
    """The listener, the pipeline, and what the pipeline needs.

    Args:
        settings: what the process is told.
        snapshot: what is in force at first.
        metrics: notes what happens.

    Attributes:
        draining: whether it was told to end.

    Raises:
        StartError: an option of the store's URL is wrong.
    """

    def __init__(
        self, settings: Settings, snapshot: Snapshot, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self.draining = False
        limits = WireLimits()
        self._health = HealthChecks()
        self._upstreams = Upstreams(self._health.is_up)
        self._store = self._make_store()
        self._pipeline = Pipeline(
            snapshot,
            store=self._store,
            upstream=self._upstreams,
            recorder=metrics,
            clocks=bindings.clocks(),
            trusted=settings.trusted_proxies,
            body_bytes=limits.body_bytes,
            buffered_bytes=limits.buffered_bytes,
        )
        self._listener = Listener(
            self._pipeline,
            limits,
            trusts=_trusts(settings.trusted_proxies),
            on_failure=lambda error: log.error("a connection failed", exc_info=error),
        )
        self._limiter = Limiter(self._store, lambda: self.policy)
        self._watch()
        self._apply(snapshot)

    def _make_store(self) -> MemoryStore | SharedStore:
        url = self._settings.redis_url
        if url is None:
            log.warning("no REDIS_URL: rate limits are kept in this process only")
            return MemoryStore(bindings.now_us)
        try:
            if RedisAddress.parse(url).kind == "cluster":
                return ClusterStore(url, bindings.now_us)
            return RedisStore(url, bindings.now_us)
        except ValueError:
            raise StartError("REDIS_URL: an option in it has no such value.") from None

    def _watch(self) -> None:
        watch, store = self._metrics.watch, self._store
        watch(
            "lumina_limiter_takes",
            lambda: [(("allowed",), store.taken), (("refused",), store.refused)],
        )
        watch("lumina_limiter_store_failures", lambda: [((), store.failures)])
        watch(
            "lumina_limiter_local_takes",
            lambda: [((answer,), n) for answer, n in store.local.items()],
        )
        watch("lumina_limiter_batches", lambda: [((), store.batches)])
        watch("lumina_limiter_store_up", lambda: [((), float(store.state == "ok"))])
        watch(
            "lumina_downstream_connections", lambda: [((), self._listener.connections)]
        )
        watch(
            "lumina_upstream_connections",
            lambda: [
                ((name, state), n) for name, state, n in self._upstreams.snapshot()
            ],
        )
        watch(
            "lumina_upstream_up",
            lambda: [
                ((name, server), float(up))
                for name, server, up in self._health.snapshot()
            ],
        )

    # -- what is in force

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._pipeline.snapshot.policy

    def put_in_force(self, snapshot: Snapshot) -> None:
        """Swap what requests that start now will hold; it must have been started."""
        self._apply(snapshot)
        self._health.configure(snapshot.policy.backends.values())

    def _apply(self, snapshot: Snapshot) -> None:
        policy = snapshot.policy
        self._upstreams.configure(policy.backends.values())
        self._metrics.declare_counters(
            rule.count for rule in policy.rules if rule.count
        )
        self._pipeline.snapshot = snapshot
        self._metrics.policy_loaded(policy.digest)

    # -- what operators ask

    @property
    def port(self) -> int:
        """The data port; 0 while nothing listens."""
        return self._listener.port

    def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Say whether requests are served as they should be, and a word per check."""
        down = [name for name, server, up in self._health.snapshot() if not up]
        checks = {
            "keys": "ok",
            "limits": self._store.state,
            "backends": f"down: {', '.join(sorted(set(down)))}" if down else "ok",
            "listening": "yes" if self._listener.port else "no",
            "draining": "yes" if self.draining else "no",
        }
        # The metrics port is there first; a probe must not find the data port missing.
        serving = self._listener.port > 0 and not self.draining
        return serving and not self._denies_without_store(), checks

    def _denies_without_store(self) -> bool:
        """Say whether requests are refused because the store of limits is lost."""
        return self._store.state != "ok" and any(
            limit.on_store_failure is OnStoreFailure.DENY
            for rule in self.policy.rules
            for limit in rule.limits
        )

    async def limits(
        self, who: str, rule: str, role: str | None
    ) -> Mapping[str, object]:
        """Return what somebody has left of a rule's limits; see ``AdminPorts``."""
        status = await self._limiter.get_limit_status(who, rule, role=role)
        return {
            "rule": status.rule,
            "remaining": status.remaining,
            "limits": [dataclasses.asdict(limit) for limit in status.limits],
        }

    # -- life

    async def start(self) -> None:
        """Connect to the store, and begin to look after backends.

        Raises:
            StartError: the store's URL has an option that there is not.
        """
        self._upstreams.start()
        try:
            await self._store.open()
        except TypeError:  # what redis-py makes of a name that it does not know
            raise StartError("REDIS_URL: there is no such option as in it.") from None
        self._health.configure(self.policy.backends.values())

    async def listen(self) -> None:
        """Accept connections.

        Raises:
            StartError: the address is not to be had.
        """
        await listen(self._listener.start, self._settings.listen)
        # What lives until the end is not looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 50)

    def stop_accepting(self) -> None:
        """Close the data port, and nothing else."""
        self._listener.stop_accepting()

    def announce(self) -> None:
        """Say that we leave: not ready, and the last answer of every connection."""
        self.draining = True
        self._listener.draining = True

    async def drain(self, seconds: float) -> None:
        """Accept no more, let open exchanges finish for at most ``seconds``."""
        await self._listener.drain(seconds)

    async def stop(self) -> None:
        """End everything now."""
        await self._listener.stop()
        await self._health.stop()
        await self._upstreams.close()
        await self._store.close()
