"""What every test shares: the event loop that the proxy runs on."""

import asyncio

import pytest
import uvloop


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """Run coroutines on uvloop, as the proxy does."""
    return uvloop.EventLoopPolicy()
