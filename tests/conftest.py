"""What every test shares: the event loop that the proxy runs on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop
from hypothesis import settings

from proxy import pipeline

# A deadline for each example would test how busy the machine is.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    """Run coroutines on uvloop, as the proxy does."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_report_header() -> str:
    """Say which data path is under test, the sources or the compiled wheel."""
    return f"data path: {pipeline.__file__}"
