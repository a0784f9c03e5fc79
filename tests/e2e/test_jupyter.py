"""A real Jupyter server behind the sidecar, whose users do not notice."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from proxy.__main__ import main
from tests.e2e.conftest import wait_until_up
from tests.e2e.sidecar import FAR, Sidecar
from tests.ports import free_port

POLICY = """\
version: 1
backends: {notebooks: {servers: ["${BACKEND_URL}"]}}
issuers:
  people:
    {issuer: people, audience: lms, algorithms: [HS256], secret: "${JWT_SECRET}",
     roles: $.role}
roles: [student, teacher]
rules:
  - {id: status, match: GET /api/status, allow: [student, teacher]}
  - {id: contents, match: "* /api/contents/{path...}", allow: [student, teacher]}
  - {id: terminals, match: "GET,POST /api/terminals", allow: [teacher]}
  - id: terminal
    match: GET /terminals/websocket/{name}
    allow: [teacher]
    upgrade: [websocket]
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a Jupyter server that asks nobody who he is; yield its port."""
    folder = tmp_path_factory.mktemp("jupyter")
    port = free_port()
    options = {
        "port": port,
        "port_retries": 0,
        "root_dir": folder,
        "open_browser": False,
        "allow_root": True,
        "disable_check_xsrf": True,
    }
    home = {
        name: str(folder / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    command = [sys.executable, "-m", "jupyter_server", "--IdentityProvider.token="]
    command.append("--ServerApp.jpserver_extensions=jupyter_server_terminals=True")
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **home},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/api/status", process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def sidecar(tmp_path: Path, jupyter: int) -> Iterator[Sidecar]:
    """Put a sidecar before it."""
    url = f"http://127.0.0.1:{jupyter}"
    one = Sidecar(tmp_path, POLICY, {"BACKEND_URL": url})
    try:
        yield one.wait()
    finally:
        one.stop()


@pytest.fixture
async def session(sidecar: Sidecar) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client that knows the sidecar's address."""
    base = f"http://127.0.0.1:{sidecar.data}"
    async with aiohttp.ClientSession(base) as one:
        yield one


def bearer(
    sidecar: Sidecar, role: str = "teacher", expires: int = FAR
) -> dict[str, str]:
    """Return the fields of somebody with a token."""
    return {"Authorization": f"Bearer {sidecar.token(role=role, exp=expires)}"}


async def test_notebooks_are_stored_and_come_back(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """What a page of Jupyter does over HTTP works, with a token and not without."""
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    document = {"type": "notebook", "content": notebook}
    fields = bearer(sidecar, "student")
    async with session.put("/api/contents/a b.ipynb", json=document) as answer:
        assert answer.status == 401
    async with session.put(
        "/api/contents/a b.ipynb", json=document, headers=fields
    ) as answer:
        assert answer.status == 201
    async with session.get("/api/contents/a b.ipynb", headers=fields) as answer:
        assert (await answer.json())["content"] == notebook


async def a_terminal(sidecar: Sidecar, session: aiohttp.ClientSession) -> str:
    """Start a terminal and return the path of its WebSocket."""
    async with session.post("/api/terminals", headers=bearer(sidecar)) as answer:
        name = (await answer.json())["name"]
    return f"/terminals/websocket/{name}"


async def test_a_terminal_answers_through_its_websocket(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """Keys go one way, and what a shell makes of them comes back."""
    path = await a_terminal(sidecar, session)
    async with session.ws_connect(path, headers=bearer(sidecar)) as terminal:
        await terminal.send_str(json.dumps(["stdin", "echo $((6 * 7))-answered\r"]))
        output = ""
        async with asyncio.timeout(20):
            while "42-answered" not in output:
                kind, *said = await terminal.receive_json()
                output += said[0] if kind == "stdout" else ""
    assert 'lumina_tunnels_open{rule="terminal"}' in sidecar.look("/metrics")[1]


async def test_a_terminal_is_not_for_everybody(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """The handshake is refused before Jupyter hears of it."""
    path = await a_terminal(sidecar, session)
    for fields, status in ({}, 401), (bearer(sidecar, "student"), 403):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(path, headers=fields)

        assert refused.value.status == status


async def test_a_terminal_ends_with_its_token(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """A client that speaks WebSocket is told 1008, and Jupyter lets go."""
    path = await a_terminal(sidecar, session)
    fields = bearer(sidecar, expires=int(time.time()) + 2)
    async with session.ws_connect(path, headers=fields) as terminal:
        async with asyncio.timeout(20):
            async for _ in terminal:
                pass

        assert terminal.close_code == 1008
    closed = 'lumina_tunnels_closed_total{reason="expired",rule="terminal"} 1.0'
    async with asyncio.timeout(20):
        while closed not in sidecar.look("/metrics")[1]:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.05)


async def test_a_terminal_ends_when_its_token_is_revoked(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """One command of an operator, and whoever has the token is out."""
    path = await a_terminal(sidecar, session)
    url = f"http://127.0.0.1:{sidecar.metrics}"
    command = ["token", "revoke", "--sub", "ada", "--url", url]
    async with session.ws_connect(path, headers=bearer(sidecar)) as terminal:
        done = await asyncio.to_thread(CliRunner().invoke, main, command)
        assert done.exit_code == 0, done.output
        async with asyncio.timeout(20):
            async for _ in terminal:
                pass

        assert terminal.close_code == 1008
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await session.ws_connect(path, headers=bearer(sidecar))


async def test_a_drain_tells_a_terminal_to_come_again(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    """1001, and the process ends without waiting for somebody to log out."""
    path = await a_terminal(sidecar, session)
    async with session.ws_connect(path, headers=bearer(sidecar)) as terminal:
        stopping = asyncio.ensure_future(asyncio.to_thread(sidecar.stop))
        async with asyncio.timeout(20):
            async for _ in terminal:
                pass

        assert terminal.close_code == 1001
    assert await stopping == 0
