"""The composition root of a proxy of one process, and its life.

Construct, start, serve, drain, stop. What serves is put together in ``serving``; the
metrics port, signals and the policy on disk are added here.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Mapping

from prometheus_client import PlatformCollector, ProcessCollector

from proxy import __version__
from proxy.core.errors import PolicyError
from proxy.edge.admin import Admin, AdminPorts
from proxy.edge.exposition import expose
from proxy.edge.metrics import Metrics
from proxy.edge.numbers import Numbers
from proxy.edge.policy_source import PolicySource
from proxy.logs import Logs
from proxy.serving import Serving, listen
from proxy.settings import Settings
from proxy.snapshots import StartError, snapshot_of

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
        self._source = PolicySource(settings.policy, environment)
        self._metrics = Metrics(now=time.time, version=__version__)
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
        self._build()
        try:
            # Before anything listens: whoever finds us ready may signal us.
            told, again = self._heed_signals()
            await self._start()
            await told.wait()
            await self._drain(again)
        finally:
            await self._stop()

    def _build(self) -> None:
        snapshot = snapshot_of(self._source.load(), self._environment)
        self._warn()
        self._logs = Logs(self._settings)
        self._serving = Serving(self._settings, snapshot, self._metrics, self._logs)
        ports = AdminPorts(
            metrics=self._expose,
            ready=self._ready,
            policy=self._policy,
            limits=self._serving.limits,
        )
        self._admin = Admin(ports, self._settings.metrics_token)

    def _warn(self) -> None:
        for warning in self._source.warnings:
            log.warning("%s", warning)

    async def _expose(self, accept: str) -> tuple[bytes, str]:
        """Copy the numbers, with pauses; write them down beside the loop."""
        numbers = Numbers()
        for values, histograms in self._metrics.parts():
            numbers.add(values, histograms)
            await asyncio.sleep(0)
        return await asyncio.to_thread(expose, numbers, accept, self._others)

    async def _ready(self) -> tuple[bool, Mapping[str, str]]:
        refused = self._source.last_error is not None
        ready, checks = self._serving.ready()
        return ready, {"policy": "last reload refused" if refused else "ok", **checks}

    def _policy(self) -> Mapping[str, object]:
        policy = self._serving.policy
        return {
            "digest": policy.digest,
            "rules": len(policy.rules),
            "loaded_at": self._source.loaded_at,
            "last_error": self._source.last_error,
        }

    async def _start(self) -> None:
        await self._serving.start()
        await listen(self._admin.start, self._settings.metrics_listen)
        await self._serving.listen()
        log.info(
            "listening on %s:%d, metrics on %s:%d, policy %s",
            self._settings.listen.host,
            self._serving.port,
            self._settings.metrics_listen.host,
            self._admin.port,
            self._serving.policy.digest,
        )

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
        try:
            snapshot = snapshot_of(policy, self._environment)
            self._serving.put_in_force(snapshot)
        except StartError as error:
            # The policy is good, but the keys or certificates that it asks for are not.
            self._source.revoke(str(error))
            self._keep_last_good(str(error))
            return
        self._warn()
        log.info("policy %s is in force", policy.digest)

    def _keep_last_good(self, why: str) -> None:
        self._metrics.policy_refused()
        self._logs.audit.note("policy.refused", why=why)
        log.error("the policy was refused, the last good one stays:\n%s", why)

    async def _drain(self, again: asyncio.Event) -> None:
        """Say that we leave, go on for a while, then let open exchanges finish."""
        self._serving.announce()
        log.info("draining")
        drain = asyncio.ensure_future(self._drained())
        hurry = asyncio.ensure_future(again.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurry):
            task.cancel()
        await asyncio.gather(drain, hurry, return_exceptions=True)

    async def _drained(self) -> None:
        await asyncio.sleep(self._settings.drain_grace)
        await self._serving.drain(self._settings.drain_timeout)

    async def _stop(self) -> None:
        await self._serving.stop()
        await self._admin.stop()
        log.info("stopped")
