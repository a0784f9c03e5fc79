"""Stepping coroutines without a Task, and awaiting the same things with one."""

import asyncio

import pytest

from proxy.edge.waiter import Waiter, step


def unexpected(error: BaseException | None) -> None:
    """Fail the test if anything but a cancellation escapes."""
    if error is not None and not isinstance(error, asyncio.CancelledError):
        raise AssertionError from error


def test_a_coroutine_that_never_waits_is_done_at_once() -> None:
    """Nothing is scheduled for a coroutine that has all it needs."""
    seen: list[int] = []

    async def work() -> None:
        seen.append(1)

    running = step(work(), unexpected)

    assert running.done
    assert seen == [1]


def test_setting_a_waiter_resumes_in_the_setters_stack() -> None:
    """The one who waits has run when ``set`` returns."""
    waiter: Waiter[int] = Waiter()
    seen: list[int] = []

    async def work() -> None:
        seen.append(await waiter)

    step(work(), unexpected)
    assert not seen

    waiter.set(7)
    waiter.set(8)

    assert seen == [7]


def test_a_failed_waiter_raises_in_the_coroutine() -> None:
    """The exception arrives where the coroutine waits."""
    waiter: Waiter[int] = Waiter()
    seen: list[str] = []

    async def work() -> None:
        try:
            await waiter
        except ValueError as error:
            seen.append(str(error))

    step(work(), unexpected)
    waiter.fail(ValueError("no"))

    assert seen == ["no"]


def test_an_exception_goes_to_on_end_and_not_to_the_setter() -> None:
    """A bug in one request does not break the batch that carried its answer."""
    waiter: Waiter[int] = Waiter()
    errors: list[BaseException | None] = []

    async def work() -> None:
        await waiter
        raise KeyError("bug")

    step(work(), errors.append)
    waiter.set(1)

    assert [repr(error) for error in errors] == ["KeyError('bug')"]


def test_cancel_raises_where_the_coroutine_waits() -> None:
    """A cancelled step cleans up, and a late result is harmless."""
    waiter: Waiter[int] = Waiter()
    seen: list[str] = []

    async def work() -> None:
        try:
            await waiter
        finally:
            seen.append("cleaned")

    running = step(work(), unexpected)
    running.cancel()
    running.cancel()
    waiter.set(1)

    assert running.done
    assert seen == ["cleaned"]


def test_cancel_from_inside_takes_effect_at_the_next_wait() -> None:
    """A coroutine may cancel itself through whoever calls it back."""
    waiter: Waiter[int] = Waiter()
    seen: list[str] = []
    holder: list[Waiter[int]] = [waiter]

    async def work() -> None:
        await waiter
        running.cancel()
        seen.append("still runs")
        await Waiter[int]()
        seen.append("never")

    running = step(work(), unexpected)
    holder[0].set(1)

    assert running.done
    assert seen == ["still runs"]


async def test_a_stepped_coroutine_may_await_ordinary_futures() -> None:
    """Whatever asyncio gives can be awaited too."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    finished: asyncio.Future[int] = loop.create_future()

    async def work() -> None:
        await asyncio.sleep(0)
        finished.set_result(await future)

    running = step(work(), unexpected)
    loop.call_soon(future.set_result, 5)

    assert await finished == 5
    assert running.done


async def test_cancelling_a_step_cancels_the_future_it_awaits() -> None:
    """Nothing is left behind that nobody waits for."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    running = step(work(), unexpected)
    running.cancel()

    assert running.done
    assert future.cancelled()


async def test_a_task_may_await_a_waiter() -> None:
    """A waiter speaks the future protocol of asyncio."""
    waiter: Waiter[int] = Waiter()

    async def work() -> int:
        return await waiter

    task = asyncio.ensure_future(work())
    asyncio.get_running_loop().call_soon(waiter.set, 3)

    assert await task == 3


async def test_a_cancelled_task_leaves_a_harmless_waiter() -> None:
    """A result that comes too late is dropped."""
    waiter: Waiter[int] = Waiter()

    async def work() -> int:
        return await waiter

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiter.set(1)

    assert not waiter.cancel()


async def test_cancel_from_inside_does_not_wait_for_a_future() -> None:
    """The next wait ends at once, whatever it is for, and so does the future."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiter: Waiter[int] = Waiter()

    async def work() -> None:
        await waiter
        running.cancel()
        await future

    running = step(work(), unexpected)
    waiter.set(1)

    assert running.done
    assert future.cancelled()


async def test_a_cancelled_pause_does_not_end_the_next_wait() -> None:
    """Whoever cleans up after a cancelled ``sleep(0)`` waits for what it awaits."""
    waiter: Waiter[int] = Waiter()
    seen: list[int] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            seen.append(await waiter)

    running = step(work(), unexpected)
    running.cancel()
    await asyncio.sleep(0)
    before = running.done, list(seen)
    waiter.set(5)

    assert before == (False, [])
    assert running.done
    assert seen == [5]
