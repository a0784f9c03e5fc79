"""What is renewed while the process lives."""

import asyncio

from proxy.edge.renewals import Renewals
from tests.wire import eventually


async def test_it_renews_until_it_is_stopped() -> None:
    """Again and again, and then no more."""
    renewed: list[int] = []
    renewals = Renewals(lambda: renewed.append(1), every=0.001)
    renewals.stop()
    renewals.start()
    await eventually(lambda: len(renewed) >= 3)

    renewals.stop()
    so_far = len(renewed)
    await asyncio.sleep(0.02)

    assert len(renewed) == so_far


async def test_what_fails_once_is_tried_again() -> None:
    """A renewal that raises is the loop's to report, and the next one comes."""
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    tries: list[int] = []

    def renew() -> None:
        tries.append(1)
        raise ValueError("once")

    renewals = Renewals(renew, every=0.001)
    renewals.start()
    await eventually(lambda: len(tries) >= 2)
    renewals.stop()

    assert all(str(error) == "once" for error in told)
