"""Renews what this process holds, again and again, while it lives."""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.core.bucket import HOLD_US, MICROSECONDS

EVERY: Final = HOLD_US / MICROSECONDS / 3
"""Seconds between renewals: two may be lost before a hold lapses."""


class Renewals:
    """Calls ``renew`` every so many seconds, from ``start`` to ``stop``."""

    def __init__(self, renew: Callable[[], object], every: float = EVERY) -> None:
        self._renew = renew
        self._every = every
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Renew in a while, and from then on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every, self._run)

    def _run(self) -> None:
        self.start()
        self._renew()

    def stop(self) -> None:
        """Renew no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
