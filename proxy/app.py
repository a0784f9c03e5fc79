"""The composition root: what the process is made of, and its life.

Construct, start, serve, drain, stop. Everything is wired here by constructor
arguments, and clocks and randomness are bound here. Nothing about a request is decided
here.
"""

import asyncio
import dataclasses
import gc
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.registry import CollectorRegistry

from proxy import __version__
from proxy.core.authn import Authenticator
from proxy.core.cipher import NONCE_BYTES, Cipher
from proxy.core.errors import PolicyError
from proxy.core.field_keys import Scope
from proxy.core.forwarding import Network, is_trusted
from proxy.core.keyset import Keyset
from proxy.core.policy import OnStoreFailure, Policy
from proxy.edge.admin import Admin, AdminPorts
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.health import HealthChecks
from proxy.edge.limiter import Limiter
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.metrics import Metrics
from proxy.edge.policy_source import PolicySource
from proxy.edge.pool import Upstreams
from proxy.edge.redis_store import RedisStore
from proxy.pipeline import Pipeline
from proxy.ports import Clocks, Snapshot
from proxy.settings import Address, Settings

log = logging.getLogger("lumina")

_NONCES_AT_ONCE = 256
_GC_THRESHOLD = 20_000
"""Allocations between collections of the young; a request leaves no cycles behind."""


class StartError(Exception):
    """The process cannot start; the message is one line for people."""


def _nonces() -> Iterator[bytes]:
    """Yield random nonces, asking the system for many at a time."""
    while True:
        block = os.urandom(NONCE_BYTES * _NONCES_AT_ONCE)
        for at in range(0, len(block), NONCE_BYTES):
            yield block[at : at + NONCE_BYTES]


def _request_ids() -> Iterator[str]:
    """Yield request ids: random for the process, counted within it."""
    prefix = os.urandom(8).hex()
    for number in itertools.count(1):
        yield f"{prefix}-{number:x}"


def _now_us() -> int:
    return time.time_ns() // 1000


def _keyset(text: str) -> Keyset:
    try:
        return Keyset.from_text(text)
    except ValueError as error:
        raise StartError(f"ENCRYPTION_KEY: {error}.") from None


def _trusts(networks: tuple[Network, ...]) -> Callable[[str], bool]:
    if not networks:
        return lambda _: False
    return lambda address: is_trusted(address, networks)


class App:
    """One process of the proxy.

    Args:
        settings: what the process is told.
        environment: what ``${NAME}`` of a policy stands for, and where a reload finds
            the keys.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._source = PolicySource(settings.policy, environment)
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry, now=time.time, version=__version__)
        self._draining = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises:
            PolicyError: the policy has errors.
            StartError: a key or an address is not to be had.
        """
        policy = self._source.load()
        self._build(policy)
        try:
            # Before anything listens: whoever finds us ready may signal us.
            told, again = self._heed_signals()
            await self._start()
            await told.wait()
            await self._drain(again)
        finally:
            await self._stop()

    def _build(self, policy: Policy) -> None:
        self._keyset = _keyset(self._settings.encryption_key)
        limits = WireLimits()
        self._health = HealthChecks()
        self._upstreams = Upstreams(self._health.is_up)
        self._store = self._make_store()
        snapshot = self._snapshot(policy)
        self._pipeline = Pipeline(
            snapshot,
            store=self._store,
            upstream=self._upstreams,
            recorder=self._metrics,
            clocks=Clocks(
                wall=time.time,
                monotonic=time.perf_counter,
                request_id=_request_ids().__next__,
            ),
            trusted=self._settings.trusted_proxies,
            body_bytes=limits.body_bytes,
            buffered_bytes=limits.buffered_bytes,
        )
        self._listener = Listener(
            self._pipeline,
            limits,
            trusts=_trusts(self._settings.trusted_proxies),
            on_failure=lambda error: log.error("a connection failed", exc_info=error),
        )
        self._limiter = Limiter(self._store, lambda: self._pipeline.snapshot.policy)
        self._admin = Admin(self._admin_ports(), self._settings.metrics_token)
        self._put_in_force(snapshot)
        self._watch()

    def _make_store(self) -> MemoryStore | RedisStore:
        url = self._settings.redis_url
        if url is None:
            log.warning("no REDIS_URL: rate limits are kept in this process only")
            return MemoryStore(_now_us)
        try:
            return RedisStore(url, _now_us)
        except ValueError:
            raise StartError("REDIS_URL: an option in it has no such value.") from None

    def _snapshot(self, policy: Policy) -> Snapshot:
        scope = Scope(policy.deployment)
        try:
            cipher = Cipher(self._keyset, scope, policy.fields, _nonces().__next__)
        except ValueError as error:
            raise StartError(f"ENCRYPTION_KEY: {error}.") from None
        return Snapshot(policy, Authenticator(policy.issuers), cipher)

    def _put_in_force(self, snapshot: Snapshot) -> None:
        policy = snapshot.policy
        for warning in self._source.warnings:
            log.warning("%s", warning)
        self._upstreams.configure(policy.backends.values())
        self._metrics.declare_counters(
            rule.count for rule in policy.rules if rule.count
        )
        self._pipeline.snapshot = snapshot
        self._metrics.policy_loaded(policy.digest)

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

    def _admin_ports(self) -> AdminPorts:
        return AdminPorts(
            metrics=self._metrics.expose,
            ready=self._ready,
            policy=self._policy,
            limits=self._limits,
        )

    def _ready(self) -> tuple[bool, Mapping[str, str]]:
        down = [name for name, server, up in self._health.snapshot() if not up]
        checks = {
            "policy": "ok"
            if self._source.last_error is None
            else "last reload refused",
            "keys": "ok",
            "limits": self._store.state,
            "backends": f"down: {', '.join(sorted(set(down)))}" if down else "ok",
            "listening": "yes" if self._listener.port else "no",
            "draining": "yes" if self._draining else "no",
        }
        # The metrics port is there first; a probe must not find the data port missing.
        serving = self._listener.port > 0 and not self._draining
        return serving and not self._denies_without_store(), checks

    def _denies_without_store(self) -> bool:
        """Say whether requests are refused because the store of limits is lost."""
        return self._store.state != "ok" and any(
            limit.on_store_failure is OnStoreFailure.DENY
            for rule in self._pipeline.snapshot.policy.rules
            for limit in rule.limits
        )

    def _policy(self) -> Mapping[str, object]:
        policy = self._pipeline.snapshot.policy
        return {
            "digest": policy.digest,
            "rules": len(policy.rules),
            "loaded_at": self._source.loaded_at,
            "last_error": self._source.last_error,
        }

    async def _limits(
        self, who: str, rule: str, role: str | None
    ) -> Mapping[str, object]:
        status = await self._limiter.get_limit_status(who, rule, role=role)
        return {
            "rule": status.rule,
            "remaining": status.remaining,
            "limits": [dataclasses.asdict(limit) for limit in status.limits],
        }

    async def _start(self) -> None:
        self._upstreams.start()
        try:
            await self._store.open()
        except TypeError:  # what redis-py makes of a name that it does not know
            raise StartError("REDIS_URL: there is no such option as in it.") from None
        self._health.configure(self._pipeline.snapshot.policy.backends.values())
        await self._listen(self._admin.start, self._settings.metrics_listen)
        await self._listen(self._listener.start, self._settings.listen)
        # What lives until the end is not looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 50)
        log.info(
            "listening on %s:%d, metrics on %s:%d, policy %s",
            self._settings.listen.host,
            self._listener.port,
            self._settings.metrics_listen.host,
            self._admin.port,
            self._pipeline.snapshot.policy.digest,
        )

    @staticmethod
    async def _listen(start: Callable[[str, int], object], address: Address) -> None:
        try:
            await start(address.host, address.port)  # type: ignore[misc]
        except OSError as error:
            raise StartError(
                f"Cannot listen on {address}: {error.strerror or error}."
            ) from None

    def _heed_signals(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Return what the first and the second SIGTERM or SIGINT set."""
        loop = asyncio.get_running_loop()
        told, again = asyncio.Event(), asyncio.Event()

        def stop() -> None:
            (again if told.is_set() else told).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        return told, again

    def _reload(self) -> None:
        try:
            policy = self._source.reload()
        except PolicyError as error:
            self._keep_last_good(str(error))
            return
        known = self._keyset
        try:
            # From a file, which may be another one than at the start.
            self._keyset = _keyset(self._environment.get("ENCRYPTION_KEY", ""))
            snapshot = self._snapshot(policy)
        except StartError as error:
            self._keyset = known
            # The policy is good, but the keys are not, or lack one that it asks for.
            self._source.revoke(str(error))
            self._keep_last_good(str(error))
            return
        self._put_in_force(snapshot)
        self._health.configure(snapshot.policy.backends.values())
        log.info("policy %s is in force", snapshot.policy.digest)

    def _keep_last_good(self, why: str) -> None:
        self._metrics.policy_refused()
        log.error("the policy was refused, the last good one stays:\n%s", why)

    async def _drain(self, again: asyncio.Event) -> None:
        """Say that we leave, go on for a while, then let open exchanges finish."""
        self._draining = True
        self._listener.draining = True
        log.info("draining")
        drain = asyncio.ensure_future(self._drained())
        hurry = asyncio.ensure_future(again.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurry):
            task.cancel()
        await asyncio.gather(drain, hurry, return_exceptions=True)

    async def _drained(self) -> None:
        await asyncio.sleep(self._settings.drain_grace)
        await self._listener.drain(self._settings.drain_timeout)

    async def _stop(self) -> None:
        await self._listener.stop()
        await self._health.stop()
        await self._upstreams.close()
        await self._admin.stop()
        await self._store.close()
        log.info("stopped")
