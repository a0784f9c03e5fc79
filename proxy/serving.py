"""What serves requests in one process: wired here, started, drained and stopped.

Everything is wired by constructor arguments. Nothing about a request is decided here,
and nobody here knows whether this process is the only one (``app``).
"""

import asyncio
import dataclasses
import gc
import logging
from collections.abc import Mapping

from proxy import bindings
from proxy.core.authn import Trusted
from proxy.core.learning import Learned
from proxy.core.limit import OnStoreFailure
from proxy.core.policy import Policy
from proxy.data_keys import DataKeys
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.cluster_store import ClusterStore
from proxy.edge.health import HealthChecks
from proxy.edge.learner import Learner
from proxy.edge.limiter import Limiter
from proxy.edge.limits import WireLimits
from proxy.edge.metrics import Metrics
from proxy.edge.observers import Observers
from proxy.edge.redis_address import RedisAddress
from proxy.edge.redis_store import RedisStore, SharedStore
from proxy.edge.refusals import Refusals
from proxy.edge.renewals import Renewals
from proxy.edge.tls import TlsError
from proxy.edge.tunnels import Tunnels
from proxy.edge.upstreams import Upstreams
from proxy.limit_orders import LimitOrders
from proxy.listening import Listening
from proxy.logs import Logs
from proxy.orders import Order, Question
from proxy.pipeline import Pipeline
from proxy.ports import Snapshot, Upstream
from proxy.settings import Settings
from proxy.snapshots import LIMIT_PURPOSE
from proxy.starting import Sockets, StartError
from proxy.taking import Taking
from proxy.trust import Trust

log = logging.getLogger("lumina")

_GC_THRESHOLD = 20_000
"""Allocations between collections of the young; a request leaves no cycles behind."""

_DENY_SECONDS = 5.0
"""For how long a refusal is repeated without a look at the store; so long, what an
operator gives back may go unnoticed by other processes."""


def _watched(upstreams: Upstreams, learned: Learned | None) -> Upstream:
    """Return who exchanges requests; nobody looks on unless something is learned."""
    return upstreams if learned is None else Learner(upstreams, learned, bindings.wall)


class Serving:
    """The listener, the pipeline, and what the pipeline needs.

    Args:
        settings: what the process is told.
        snapshot: what is in force at first.
        metrics: notes what happens.
        trusted: what the process knows of issuers; kept current from here on.

    Attributes:
        trust: keeps what is known of issuers.
        limit_orders: answers what operators ask about limits.
        draining: whether it was told to end.
        tunnels: the connections that are not HTTP any more.

    Raises:
        StartError: an option of the store's URL is wrong, or a file of a backend's
            certificate cannot be used.
    """

    _keys: DataKeys | None = None

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot,
        metrics: Metrics,
        trusted: Trusted,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self.draining = False
        limits, upstreams, self.tunnels = WireLimits(), Upstreams(), Tunnels()
        self._upstreams = upstreams
        self._health = HealthChecks(upstreams.tls_of, upstreams.health_changed)
        self._store = self._make_store()
        self.trust = Trust(trusted, metrics, settings.redis_url, self.tunnels)
        self._refusals, logs = Refusals(bindings.wall), Logs(settings)
        self._logs = logs
        self._observers = Observers(metrics, self._refusals, logs.access, logs.audit)
        self._learned = Learned() if settings.learn else None
        # One for all listeners: what somebody holds or is refused counts at each.
        self._taking = Taking(self._store, bindings.clocks(), self._deny_seconds)
        self._listening = Listening(
            settings,
            snapshot,
            lambda one: self._make_pipeline(one, limits),
            limits,
            self.tunnels,
        )
        self._renewals = Renewals(self._taking.renew)
        self.limit_orders = self._make_limit_orders()
        self._watch()
        self._apply(snapshot)

    def _make_pipeline(self, snapshot: Snapshot, limits: WireLimits) -> Pipeline:
        settings = self._settings
        return Pipeline(
            snapshot,
            store=self._store,
            upstream=_watched(self._upstreams, self._learned),
            recorder=self._observers,
            auditor=self._logs.audit,
            inquiries=self.trust,
            clocks=bindings.clocks(),
            trusted=settings.trusted_proxies,
            body_bytes=limits.body_bytes,
            buffered_bytes=limits.buffered_bytes,
            taking=self._taking,
        )

    def _make_limit_orders(self) -> LimitOrders:
        limiter = Limiter(
            self._store,
            lambda: self.policy,
            now_us=bindings.now_us,
            secret=lambda: self._listening.snapshot.limit_secret,
        )
        return LimitOrders(limiter, self._store, self._taking, self._logs.audit)

    def _deny_seconds(self) -> float:
        """Return for how long a refusal may be repeated without asking the store."""
        # What this process's own buckets say is forgotten when Redis is back.
        shared = self._settings.redis_url is not None and self._store.state == "ok"
        return _DENY_SECONDS if shared else 0.0

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
        self._logs.watch(self._metrics)
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
        self._listening.watch(self._metrics)
        watch("lumina_tunnels_open", self.tunnels.open_by_rule)
        watch("lumina_tunnels_closed", self.tunnels.closed_by_rule)
        upstreams = self._upstreams
        watch("lumina_upstream_connections", upstreams.connections)
        watch("lumina_upstream_pending", upstreams.pending)
        watch("lumina_upstream_retries", upstreams.retries)
        watch("lumina_upstream_failures", upstreams.failures)
        watch("lumina_upstream_ejections", upstreams.ejections)
        watch("lumina_upstream_ejected", upstreams.ejected)
        watch(
            "lumina_upstream_certificate_expiry_timestamp_seconds",
            upstreams.certificates,
        )
        watch("lumina_upstream_certificate_reload_success", upstreams.certificates_good)
        watch(
            "lumina_upstream_up",
            lambda: [
                ((name, server), float(up))
                for name, server, up in self._health.snapshot()
            ],
        )

    # -- keys

    def keep_keys(self, keys: DataKeys) -> None:
        """Follow a keystore: its state, its keys' ages, and other keys in time."""
        self._keys = keys
        custody = keys.custody
        if custody is None:
            return
        watch = self._metrics.watch
        watch(
            "lumina_key_age_seconds",
            lambda: [((key, of, state), age) for key, of, state, age in custody.ages()],
        )
        watch("lumina_keystore_up", lambda: [((), float(custody.last_error is None))])
        watch("lumina_key_lease_valid", lambda: [((), float(custody.lease.valid))])

    def _change_keys(self) -> None:
        snapshot = self._listening.snapshot
        try:
            ciphers = self._keys.ciphers(snapshot.policy) if self._keys else None
        except ValueError as error:
            log.error("the keystore's new keys do not fit the policy: %s", error)  # noqa: TRY400 - it says all
            return
        if ciphers is not None:
            secret = ciphers.secret(LIMIT_PURPOSE)
            self._listening.swap(
                dataclasses.replace(snapshot, ciphers=ciphers, limit_secret=secret)
            )

    # -- what is in force

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._listening.snapshot.policy

    def put_in_force(self, snapshot: Snapshot) -> None:
        """Swap what requests that start now will hold; it must have been started.

        Raises:
            StartError: a file of a backend's certificate cannot be used; what was in
                force stays.
        """
        before = self.policy
        self._apply(snapshot)
        self._logs.policy_changed(before, snapshot.policy)
        self.trust.configure(snapshot.policy)
        self._health.configure(snapshot.policy.backends.values())

    def _apply(self, snapshot: Snapshot) -> None:
        policy = snapshot.policy
        try:
            self._upstreams.configure(
                policy.backends.values(),
                [rule.timeouts for rule in policy.rules if rule.timeouts],
            )
        except TlsError as error:
            raise StartError(f"backends: {error}.") from None
        self._listening.configure(snapshot)
        self._metrics.declare_counters(
            rule.count for rule in policy.rules if rule.count
        )
        self._observers.configure(policy)
        self._metrics.policy_loaded(policy.digest)

    def refuse_policy(self, why: str) -> None:
        """Note that a policy was refused, and that the one in force stays."""
        self._metrics.policy_refused()
        self._logs.audit.note("policy.refused", why=why)

    # -- what operators ask

    def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Say whether requests are served as they should be, and a word per check."""
        down = [name for name, server, up in self._health.snapshot() if not up]
        checks = {
            "keys": self._keys.state if self._keys else "ok",
            "issuers": self.trust.state,
            "audit": self._logs.state,
            "limits": self._store.state,
            "backends": f"down: {', '.join(sorted(set(down)))}" if down else "ok",
            "listening": "yes" if self._listening.everywhere else "no",
            "draining": "yes" if self.draining else "no",
        }
        # The metrics port is there first; a probe must not find the data port missing.
        listening = self._listening.everywhere
        serving = listening and not self.draining and self.trust.complete
        return serving and not self._denies_without_store(), checks

    def _denies_without_store(self) -> bool:
        """Say whether requests are refused because the store of limits is lost."""
        return self._store.state != "ok" and any(
            limit.on_store_failure is OnStoreFailure.DENY
            for rule in self.policy.rules
            for limit in rule.limits
        )

    @property
    def orders(self) -> Mapping[str, Order]:
        """What operators may tell."""
        return {**self.trust.orders, **self.limit_orders.orders}

    @property
    def questions(self) -> Mapping[str, Question]:
        """What operators may ask."""
        return {**self.trust.questions, **self.limit_orders.questions}

    async def refusal(self, request_id: str) -> Mapping[str, object] | None:
        """Return what is known of a refusal; None for nothing."""
        return self._refusals.find(request_id)

    async def learned(self) -> Mapping[str, object] | None:
        """Return what was learned; None where nothing is."""
        return None if self._learned is None else self._learned.document()

    # -- life

    async def start(self) -> None:
        """Connect to the store, and begin to look after backends.

        Raises:
            StartError: the store's URL has an option that there is not.
        """
        self._logs.start()
        self._upstreams.start()
        try:
            await self._store.open()
        except TypeError:  # what redis-py makes of a name that it does not know
            raise StartError("REDIS_URL: there is no such option as in it.") from None
        self._health.configure(self.policy.backends.values())
        self._renewals.start()
        await self.trust.start(self.policy)
        if self._keys is not None:
            self._keys.start(self._change_keys)

    async def listen(self, sockets: Sockets) -> None:
        """Accept connections from now on, at sockets that are this process's own."""
        await self._listening.start(sockets)
        self._logs.policy_changed(None, self.policy)
        # What lives until the end is not looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 50)

    def stop_accepting(self) -> None:
        """Close the ports for clients, and nothing else."""
        self._listening.stop_accepting()

    async def leave(self, hurry: asyncio.Event) -> None:
        """Say that we leave, go on for a while, then let open exchanges finish.

        For the grace connections are accepted and answered as ever, but that each
        answer says that it is the last one of its connection; only then are those that
        said nothing closed.

        Args:
            hurry: ends it at once when it is set.
        """
        self.draining = True
        self._listening.announce()
        drain = asyncio.ensure_future(self._drained())
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait((drain, hurried), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurried):
            task.cancel()
        await asyncio.gather(drain, hurried, return_exceptions=True)

    async def _drained(self) -> None:
        await asyncio.sleep(self._settings.drain_grace)
        self.tunnels.drain()  # those would never finish, so they are told
        await self._listening.drain(self._settings.drain_timeout)

    async def stop(self) -> None:
        """End everything now."""
        await self._listening.stop()
        self._renewals.stop()
        await self.trust.stop()
        await self._health.stop()
        await self._upstreams.close()
        await self._store.close()
        if self._keys is not None:
            await self._keys.close()
        self._logs.stop()
