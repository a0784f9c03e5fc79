"""What every test shares: the event loop that the proxy runs on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop

from proxy import pipeline


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    """Run coroutines on uvloop, as the proxy does."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_report_header() -> str:
    """Say which data path is under test, the sources or the compiled wheel."""
    return f"data path: {pipeline.__file__}"
