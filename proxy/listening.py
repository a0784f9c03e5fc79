"""Every port of this process that clients connect to, with the pipeline behind it.

Each listener of the policy has a pipeline, which sees the policy as it is there. They
share everything behind that: limits, backends, keys, room for connections.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable

from proxy.core.forwarding import is_trusted
from proxy.core.listeners import ListenerTls
from proxy.core.policy import Policy
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.metrics import Metrics, Sample
from proxy.edge.room import Room, connections_for, descriptors
from proxy.edge.sockets import remove
from proxy.edge.tls import Tls, TlsError, tls_of
from proxy.edge.tunnels import Tunnels
from proxy.pipeline import Pipeline
from proxy.ports import Snapshot
from proxy.settings import Settings
from proxy.starting import Sockets, StartError, places_of

log = logging.getLogger("lumina")

_LOOKED_AT = 5.0
"""Seconds between two looks at the files of certificates."""


class Listening:
    """The listeners.

    Args:
        settings: what the process is told.
        snapshot: what is in force at first.
        make: returns a pipeline that begins with a snapshot.
        limits: what one connection may cost.
        tunnels: where connections go that are not HTTP any more.

    Attributes:
        snapshot: what is in force, at all of them together.

    Raises:
        StartError: a file of a certificate cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot,
        make: Callable[[Snapshot], Pipeline],
        limits: WireLimits,
        tunnels: Tunnels,
    ) -> None:
        self.snapshot = snapshot
        listeners = snapshot.policy.listeners
        self._places = places_of(settings, listeners)
        self._timer: asyncio.TimerHandle | None = None
        self._tls: dict[str, tuple[ListenerTls, Tls]] = {}
        self._bad: set[str] = set()
        room = Room(_most(settings))
        self._pipelines = {name: make(_at(snapshot, name)) for name in listeners}

        def trusts(address: str) -> bool:
            if not address:
                return settings.trusts_unix
            return is_trusted(address, settings.trusted_proxies)

        self._listeners = {
            name: Listener(
                pipeline,
                limits,
                tunnels=tunnels,
                trusts=trusts,
                on_failure=lambda error: log.error(
                    "a connection failed", exc_info=error
                ),
                room=room,
            )
            for name, pipeline in self._pipelines.items()
        }
        self.configure(snapshot)

    # -- what is in force

    def configure(self, snapshot: Snapshot) -> None:
        """Put a snapshot in force, whose listeners are at the places of the first.

        Raises:
            StartError: a file of a certificate cannot be used; nothing changed then.
        """
        listeners = snapshot.policy.listeners
        try:
            wanted = {
                name: (one.tls, self._renewed(name, one.tls))
                for name, one in listeners.items()
                if one.tls is not None
            }
        except TlsError as error:
            raise StartError(f"listeners: {error}.") from None
        self._tls = wanted
        self._bad.clear()
        for name, listener in self._listeners.items():
            told = listeners[name]
            listener.configure(
                wanted[name][1] if name in wanted else None,
                told.max_connections,
                proxy_protocol=told.proxy_protocol,
            )
        self.swap(snapshot)

    def swap(self, snapshot: Snapshot) -> None:
        """Have requests that start now hold another snapshot."""
        self.snapshot = snapshot
        for name, pipeline in self._pipelines.items():
            pipeline.snapshot = _at(snapshot, name)

    def _renewed(self, name: str, told: ListenerTls) -> Tls:
        known = self._tls.get(name)
        if known is None or known[0] != told:
            return tls_of(told)
        known[1].reload(force=True)
        return known[1]

    def _look(self) -> None:
        """Use certificates that have changed; keep the last good ones."""
        self._timer = asyncio.get_running_loop().call_later(_LOOKED_AT, self._look)
        for name, (_, tls) in self._tls.items():
            try:
                changed = tls.reload()
            except TlsError as error:
                self._bad.add(name)
                log.error(  # noqa: TRY400 - it says all
                    "listener %s: the last good certificate stays: %s", name, error
                )
            else:
                if changed:
                    self._bad.discard(name)
                    log.info("listener %s: another certificate is in force", name)

    # -- what operators ask

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(one.connections for one in self._listeners.values())

    @property
    def everywhere(self) -> bool:
        """Whether all of them listen."""
        return all(one.listening for one in self._listeners.values())

    def watch(self, metrics: Metrics) -> None:
        """Show what there is to show."""
        metrics.watch("lumina_downstream_connections", lambda: [((), self.connections)])
        metrics.watch("lumina_listener_connections_refused", self._refused)
        metrics.watch(
            "lumina_listener_certificate_expiry_timestamp_seconds", self._expiries
        )
        metrics.watch("lumina_listener_certificate_reload_success", self._good)

    def _refused(self) -> list[Sample]:
        return [((name,), one.refused) for name, one in self._listeners.items()]

    def _expiries(self) -> list[Sample]:
        return [
            ((name,), expiry)
            for name, (_, tls) in self._tls.items()
            if (expiry := tls.expires_at) is not None
        ]

    def _good(self) -> list[Sample]:
        return [((name,), float(name not in self._bad)) for name in self._tls]

    # -- life

    async def start(self, sockets: Sockets) -> None:
        """Accept connections from now on, at sockets that are this process's own."""
        for name, listener in self._listeners.items():
            await listener.start(sockets[name])
        self._timer = asyncio.get_running_loop().call_later(_LOOKED_AT, self._look)

    def stop_accepting(self) -> None:
        """Close the ports, and nothing else."""
        for listener in self._listeners.values():
            listener.stop_accepting()

    def announce(self) -> None:
        """Let every answer be the last one of its connection."""
        for listener in self._listeners.values():
            listener.draining = True

    async def drain(self, seconds: float) -> None:
        """Accept no more, and let open exchanges finish for at most ``seconds``."""
        self._remove()
        await asyncio.gather(
            *(listener.drain(seconds) for listener in self._listeners.values())
        )

    def _remove(self) -> None:
        """Let nobody find unix sockets any more."""
        for place in self._places.values():
            if place.path:
                remove(place.path)

    async def stop(self) -> None:
        """Close everything now."""
        if self._timer is not None:
            self._timer.cancel()
        self._remove()
        for listener in self._listeners.values():
            await listener.stop()


def _at(snapshot: Snapshot, listener: str) -> Snapshot:
    policy: Policy = snapshot.policy.at(listener)
    return dataclasses.replace(snapshot, policy=policy)


def _most(settings: Settings) -> int:
    """Return how many clients may be connected to this process."""
    most = connections_for(descriptors())
    if most < settings.max_connections:
        log.warning(
            "%d connections at a time, not %d: more file descriptors are not to be had",
            most,
            settings.max_connections,
        )
    return min(most, settings.max_connections)
