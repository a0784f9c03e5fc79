"""What signals mean: end, end now, read policy and secrets again."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable

log = logging.getLogger("lumina")


class Signals:
    """The signals of a process that people and service managers know.

    Args:
        reload: reads policy and secrets again. Of several SIGHUP that come while it
            runs, the last one is heeded after it.

    Attributes:
        told: set by the first SIGTERM or SIGINT.
        again: set by the second.
    """

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        self.told = asyncio.Event()
        self.again = asyncio.Event()
        self._asked = asyncio.Event()
        self._reload = reload
        self._reloads: asyncio.Task[None] | None = None

    def heed(self) -> None:
        """Heed signals from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        self._reloads = loop.create_task(self._reload_when_asked())

    def reload(self) -> None:
        """Ask for what SIGHUP asks for."""
        self._asked.set()

    def _end(self) -> None:
        (self.again if self.told.is_set() else self.told).set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._reload()
            except Exception:
                log.exception("the reload failed")

    async def stop(self) -> None:
        """End a reload that is under way."""
        if self._reloads is not None:
            self._reloads.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reloads
