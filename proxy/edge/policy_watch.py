"""Asks for a reload when the policy on disk has changed, and not while it is changing.

It looks, away from the loop, every few seconds, rather than waiting for the system to
tell: what is mounted into a container, or comes over a network, changes untold.
"""

import asyncio
import logging
from collections.abc import Callable

from proxy.edge.policy_source import PolicySource

log = logging.getLogger("lumina")


class PolicyWatch:
    """Watches one policy.

    Args:
        source: of the policy.
        changed: is told of a change, once it has rested for one look.
        every: seconds between two looks; 0 for never.
    """

    def __init__(
        self, source: PolicySource, changed: Callable[[], None], every: float
    ) -> None:
        self._source = source
        self._changed = changed
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._every:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        before = told = self._source.known
        while True:
            await asyncio.sleep(self._every)
            now = await asyncio.to_thread(self._source.look)
            # Somebody may be writing still: two looks that see the same.
            if now == before and now not in (told, self._source.known):
                told = now
                log.info("the policy on disk has changed")
                self._changed()
            before = now
