"""Active health checks: a server that fails in a row is down until it succeeds."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import aiohttp

from proxy.core.backends import Backend, BackendTls, HealthCheck, Server
from proxy.edge.tls import Tls

log = logging.getLogger("lumina.health")

OK = 2
"""The class of statuses that mean healthy."""


class _Watched(NamedTuple):
    """A server, and how it is asked; equal ones go on through a reload."""

    backend: str
    server: Server
    check: HealthCheck
    tls: BackendTls


class HealthChecks:
    """Asks servers how they are.

    Args:
        tls_of: the context for a backend's settings; None for a backend without TLS.
        on_change: told the backend, the server and whether it is up, when that changes.
    """

    def __init__(
        self,
        tls_of: Callable[[BackendTls], Tls | None] = lambda _: None,
        on_change: Callable[[str, Server, bool], None] = lambda *_: None,
    ) -> None:
        self._tls_of = tls_of
        self._on_change = on_change
        self._down: set[tuple[str, Server]] = set()
        self._tasks: dict[_Watched, asyncio.Task[None]] = {}

    def is_up(self, backend: str, server: Server) -> bool:
        """Say whether a server is up; one that nobody checked counts as up."""
        return (backend, server) not in self._down

    def snapshot(self) -> list[tuple[str, str, bool]]:
        """Return (backend, address, up) of every server that is checked."""
        return [
            (one.backend, one.server.address, self.is_up(one.backend, one.server))
            for one in self._tasks
        ]

    def configure(self, backends: Iterable[Backend]) -> None:
        """Check the servers of ``backends`` from now on, and no others."""
        wanted = {
            _Watched(backend.id, server, backend.health, backend.tls)
            for backend in backends
            if backend.health is not None
            for server in backend.servers
        }
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
        # Whoever is down stays so until the new check, if it is one, succeeds.
        for backend, server in self._down - {
            (one.backend, one.server) for one in wanted
        }:
            self._down.discard((backend, server))
            self._on_change(backend, server, True)
        loop = asyncio.get_running_loop()
        for key in wanted - self._tasks.keys():
            self._tasks[key] = loop.create_task(self._watch(key))

    async def _watch(self, one: _Watched) -> None:
        check, server = one.check, one.server
        scheme = "https" if server.tls else "http"
        url = f"{scheme}://{'unix' if server.path else server.address}{check.path}"
        timeout = aiohttp.ClientTimeout(total=min(check.every, check.timeout))
        connector = aiohttp.UnixConnector(server.path) if server.path else None
        headers = {"Host": check.host} if check.host else None
        failures = successes = 0
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, headers=headers
        ) as session:
            while True:
                if await self._succeeds(session, url, one):
                    failures, successes = 0, successes + 1
                else:
                    failures, successes = failures + 1, 0
                self._note(one, failures, successes)
                await asyncio.sleep(check.every)

    def _note(self, one: _Watched, failures: int, successes: int) -> None:
        key = one.backend, one.server
        if successes >= one.check.up_after and key in self._down:
            self._down.discard(key)
            log.info("backend %s: %s is up", one.backend, one.server.address)
            self._on_change(*key, True)
        elif failures >= one.check.down_after and key not in self._down:
            self._down.add(key)
            log.warning("backend %s: %s is down", one.backend, one.server.address)
            self._on_change(*key, False)

    async def _succeeds(
        self, session: aiohttp.ClientSession, url: str, one: _Watched
    ) -> bool:
        tls = self._tls_of(one.tls) if one.server.tls else None
        try:
            async with session.get(
                url,
                allow_redirects=False,
                ssl=True if tls is None else tls.context,
                server_hostname=one.tls.server_name if one.server.tls else None,
            ) as response:
                return response.status // 100 == OK
        except (aiohttp.ClientError, TimeoutError, UnicodeError):  # no host name
            return False

    async def stop(self) -> None:
        """Stop checking."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
