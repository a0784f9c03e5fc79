"""Ending what runs beside the data path."""

import asyncio
from typing import Any, Final

_AGAIN: Final = 0.05
"""Seconds after which a task that goes on is told again."""


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait until it has ended, whatever it ends with.

    It is told again until it heeds: redis-py loses a cancellation that comes while it
    opens a connection.

    Args:
        task: None is a task that never began.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN)
