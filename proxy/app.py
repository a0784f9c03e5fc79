"""The composition root of a proxy of one process, and its life.

Construct, start, serve, drain, stop. What serves is put together in ``serving``; the
metrics port, signals and the policy on disk are added here.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from prometheus_client import PlatformCollector, ProcessCollector

from proxy import __version__
from proxy.core.authn import Trusted
from proxy.core.errors import PolicyError
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.data_keys import DataKeys
from proxy.edge.admin import Admin, AdminPorts
from proxy.edge.exposition import expose
from proxy.edge.metrics import Metrics
from proxy.edge.numbers import Numbers
from proxy.edge.policy_watch import PolicyWatch
from proxy.serving import Serving
from proxy.settings import Settings
from proxy.signals import Signals
from proxy.snapshots import snapshot_of, source_of
from proxy.starting import (
    StartError,
    bind_at,
    found,
    listening_at,
    log_places,
    places_of,
    refuse_moves,
)

log = logging.getLogger("lumina")


class App:
    """A proxy of one process.

    Args:
        settings: what the process is told.
        environment: what ``${NAME}`` of a policy stands for, and where a reload finds
            the keys.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._source = source_of(settings, environment)
        self._trusted = Trusted()
        self._signals = Signals(self._reload)
        self._watch = PolicyWatch(
            self._source, self._signals.reload, settings.policy_poll
        )
        self._metrics = Metrics(now=time.time, version=__version__)
        self._metrics.watch("lumina_policy_pinned", self._source.pinned_sample)
        self._keys = DataKeys(environment, self._metrics.encryptions)
        self._others = (
            ProcessCollector(registry=None),
            PlatformCollector(registry=None),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises:
            PolicyError: the policy has errors.
            StartError: a key or an address is not to be had.
        """
        await self._keys.open()
        try:
            self._build()
        except BaseException:
            await self._keys.close()
            raise
        try:
            # Before anything listens: whoever finds us ready may signal us.
            self._signals.heed()
            self._watch.start()
            await self._start()
            await self._signals.told.wait()
            log.info("draining")
            await self._serving.leave(self._signals.again)
        finally:
            await self._watch.stop()
            await self._signals.stop()
            await self._stop()

    def _build(self) -> None:
        loaded = self._source.load()
        snapshot = snapshot_of(
            loaded.policy, self._environment, self._keys, self._trusted
        )
        self._source.put_in_force(loaded)
        self._serving = Serving(self._settings, snapshot, self._metrics, self._trusted)
        self._serving.keep_keys(self._keys)
        ports = AdminPorts(
            metrics=self._expose,
            ready=self._ready,
            policy=self._source.state,
            limits=self._serving.limit_orders.status,
            commands=self._serving.orders,
            queries=self._serving.questions,
            refusal=self._serving.refusal,
            learned=self._serving.learned,
        )
        self._admin = Admin(ports, self._settings.metrics_token)

    async def _expose(self, accept: str) -> tuple[bytes, str]:
        """Copy the numbers, with pauses; write them down beside the loop."""
        numbers = Numbers()
        for values, histograms in self._metrics.parts():
            numbers.add(values, histograms)
            await asyncio.sleep(0)
        return await asyncio.to_thread(expose, numbers, accept, self._others)

    async def _ready(self) -> tuple[bool, Mapping[str, str]]:
        ready, checks = self._serving.ready()
        return ready, {"policy": self._source.word, **checks}

    async def _start(self) -> None:
        await asyncio.to_thread(self._source.keep)
        await self._serving.start()
        metrics, policy = self._settings.metrics_listen, self._serving.policy
        with listening_at(metrics):
            await self._admin.start(metrics.host, metrics.port)
        places = places_of(self._settings, policy.listeners)
        sockets = bind_at(places)
        places = found(places, sockets)
        await self._serving.listen(sockets)
        log_places(places)
        log.info(
            "listening on %s, metrics on %s:%d, policy %s",
            *(places[DEFAULT_LISTENER], metrics.host, self._admin.port),
            policy.digest,
        )

    async def _reload(self) -> None:
        try:
            # Beside the loop, which goes on serving.
            loaded = await asyncio.to_thread(self._source.load)
            snapshot = await asyncio.to_thread(
                snapshot_of,
                loaded.policy,
                self._environment,
                self._keys,
                self._trusted,
            )
            refuse_moves(self._serving.policy.listeners, loaded.policy.listeners)
            self._serving.put_in_force(snapshot)
        except (PolicyError, StartError) as error:
            self._source.refuse(str(error))
            self._serving.refuse_policy(str(error))
            return
        self._source.put_in_force(loaded)
        log.info("policy %s is in force", loaded.policy.digest)
        await asyncio.to_thread(self._source.keep)

    async def _stop(self) -> None:
        await self._serving.stop()
        await self._admin.stop()
        log.info("stopped")
