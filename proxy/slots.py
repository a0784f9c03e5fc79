"""A worker's place: the sockets that it accepts at, and how its predecessors ended."""

import asyncio
import socket
from collections.abc import Mapping

from proxy.edge.sockets import bind
from proxy.edge.worker_process import WorkerProcess
from proxy.starting import Places, Sockets

_YOUNG = 30.0
"""Seconds that a worker has to live to count as one that works."""
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
"""Seconds before a successor is started when several in a row died young."""


class Slot:
    """A place for one worker after the other.

    Args:
        places: where its sockets listen, with their ports.
        sockets: as they are at first; those of unix sockets are others' too.

    Attributes:
        worker: who serves there; None while nobody does.
    """

    def __init__(self, places: Places, sockets: Sockets) -> None:
        self._places = places
        self._sockets = sockets
        self._now = asyncio.get_running_loop().time
        self._begun = self._now()
        self._young_deaths = 0
        self.worker: WorkerProcess | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """Where a worker accepts."""
        return [one for listening in self._sockets.values() for one in listening]

    @property
    def descriptors(self) -> Mapping[str, list[int]]:
        """The descriptors of the sockets, by listener."""
        return {
            name: [one.fileno() for one in listening]
            for name, listening in self._sockets.items()
        }

    def open(self) -> None:
        """Listen where it was closed.

        Raises:
            OSError: a port is not to be had any more.
        """
        for name, place in self._places.items():
            if not place.path and any(one.fileno() < 0 for one in self._sockets[name]):
                self._sockets[name] = bind(place.host, place.port, shared=True)
        self._begun = self._now()

    def close(self, *, unix: bool = True) -> None:
        """Stop listening here; a worker that runs has sockets of its own.

        Args:
            unix: whether at unix sockets, too, where others listen.
        """
        for name, listening in self._sockets.items():
            if unix or not self._places[name].path:
                for one in listening:
                    one.close()

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
