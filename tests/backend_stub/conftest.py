"""The service on a free loopback port, with a database of its own per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from backend_stub.app import create_app

SECRET = "a secret of more than thirty-two bytes"
Client = TestClient[Request, Application]


@pytest.fixture
async def lms(tmp_path: Path) -> AsyncIterator[Client]:
    """Serve until the test ends."""
    async with TestClient(TestServer(create_app(tmp_path / "l.db", SECRET))) as client:
        yield client
