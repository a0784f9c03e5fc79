"""What every test shares: the event loop that the proxy runs on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    """Run coroutines on uvloop, as the proxy does."""
    return {"uvloop": uvloop.new_event_loop}
