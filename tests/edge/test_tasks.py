"""Ending tasks."""

import asyncio

from proxy.edge.tasks import end


async def test_a_task_is_ended() -> None:
    """Wherever it waits."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    await end(task)

    assert task.cancelled()


async def test_a_task_that_loses_a_cancellation_is_told_again() -> None:
    """Until it heeds."""
    heard = 0

    async def deaf() -> None:
        nonlocal heard
        while heard < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard += 1

    task = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    await end(task)

    assert heard == 3


async def test_what_never_began_or_has_ended_needs_no_end() -> None:
    """And is not waited for."""
    done = asyncio.ensure_future(asyncio.sleep(0))
    await done

    await end(None)
    await end(done)
