"""Active health checks: a server that fails twice is down until it succeeds once."""

import asyncio
import logging
from collections.abc import Iterable

import aiohttp

from proxy.core.backends import Backend, HealthCheck, Server

log = logging.getLogger("lumina.health")

FAILURES = 2
"""Failures in a row that make a server count as down."""
OK = 2
"""The class of statuses that mean healthy."""
TIMEOUT = 2.0
"""Seconds that a check may take, unless it is repeated sooner."""


class HealthChecks:
    """Asks servers how they are."""

    def __init__(self) -> None:
        self._down: set[tuple[str, Server]] = set()
        self._tasks: dict[tuple[str, Server, HealthCheck], asyncio.Task[None]] = {}

    def is_up(self, backend: str, server: Server) -> bool:
        """Say whether a server is up; one that nobody checked counts as up."""
        return (backend, server) not in self._down

    def snapshot(self) -> list[tuple[str, str, bool]]:
        """Return (backend, host:port, up) of every server that is checked."""
        return [
            (backend, _address(server), self.is_up(backend, server))
            for backend, server, _ in self._tasks
        ]

    def configure(self, backends: Iterable[Backend]) -> None:
        """Check the servers of ``backends`` from now on, and no others."""
        wanted = {
            (backend.id, server, backend.health)
            for backend in backends
            if backend.health is not None
            for server in backend.servers
        }
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
        # Whoever is down stays so until the new check, if it is one, succeeds.
        self._down &= {(backend, server) for backend, server, _ in wanted}
        loop = asyncio.get_running_loop()
        for key in wanted - self._tasks.keys():
            self._tasks[key] = loop.create_task(self._watch(*key))

    async def _watch(self, backend: str, server: Server, check: HealthCheck) -> None:
        url = f"http://{_address(server)}{check.path}"
        timeout = aiohttp.ClientTimeout(total=min(check.every, TIMEOUT))
        failures = 0
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                failures = 0 if await _succeeds(session, url) else failures + 1
                self._note(backend, server, failures)
                await asyncio.sleep(check.every)

    def _note(self, backend: str, server: Server, failures: int) -> None:
        key = (backend, server)
        if failures == 0 and key in self._down:
            self._down.discard(key)
            log.info("backend %s: %s is up", backend, _address(server))
        elif failures >= FAILURES and key not in self._down:
            self._down.add(key)
            log.warning("backend %s: %s is down", backend, _address(server))

    async def stop(self) -> None:
        """Stop checking."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _address(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


async def _succeeds(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, allow_redirects=False) as response:
            return response.status // 100 == OK
    except (aiohttp.ClientError, TimeoutError, UnicodeError):  # the last: no host name
        return False
