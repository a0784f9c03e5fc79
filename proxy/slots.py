"""A worker's place: the sockets that it accepts at, and how its predecessors ended."""

import asyncio
import socket

from proxy.edge.sockets import bind, port_of
from proxy.edge.worker_process import WorkerProcess

_YOUNG = 30.0
"""Seconds that a worker has to live to count as one that works."""
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
"""Seconds before a successor is started when several in a row died young."""


class Slot:
    """A place for one worker after the other.

    Args:
        host: where its sockets listen.
        sockets: as they are at first.

    Attributes:
        sockets: where it accepts; none while nobody is to connect.
        worker: who serves there; None while nobody does.
    """

    def __init__(self, host: str, sockets: list[socket.socket]) -> None:
        self._host = host
        self._port = port_of(sockets)
        self._now = asyncio.get_running_loop().time
        self._begun = self._now()
        self._young_deaths = 0
        self.sockets = sockets
        self.worker: WorkerProcess | None = None

    def open(self) -> None:
        """Listen, if it was closed.

        Raises:
            OSError: the port is not to be had any more.
        """
        if not self.sockets:
            self.sockets = bind(self._host, self._port, shared=True)
        self._begun = self._now()

    def close(self) -> None:
        """Stop listening here; a worker that runs has sockets of its own."""
        for one in self.sockets:
            one.close()
        self.sockets = []

    def delay(self) -> float:
        """Return after how many seconds a successor is started, now that one ended.

        At once, unless several in a row died young.
        """
        if self._now() - self._begun >= _YOUNG:
            self._young_deaths = 0
        self._young_deaths += 1
        if self._young_deaths == 1:
            return 0.0
        return float(
            min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(self._young_deaths - 2, 10))
        )
